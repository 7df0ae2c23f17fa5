#!/usr/bin/env node
// Committed, since npm makes commands only of files that are there when it installs, and dist/ has to be built first.
try {
  require("../dist/clustermesh-secrets.js");
} catch (error) {
  require("./not-built.cjs")(error);
}
