import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAge } from "../../lib/render/age.ts";

test("spans are printed as by kubectl", () => {
  // The cases of k8s.io/apimachinery/pkg/util/duration.
  const [second, minute, hour, day] = [1, 60, 3600, 86_400];
  const cases: [seconds: number, text: string][] = [
    [-5, "0s"],
    [0, "0s"],
    [second, "1s"],
    [70, "70s"],
    [190, "3m10s"],
    [70 * minute, "70m"],
    [47 * hour, "47h"],
    [49 * hour, "2d1h"],
    [(8 * 24 + 2) * hour, "8d"],
    [367 * day, "367d"],
    [(365 * 2 + 25) * day, "2y25d"],
    [(365 * 8 + 2) * day, "8y"],
    [119, "119s"],
    [2 * minute, "2m"],
    [3 * hour, "3h"],
    [3 * hour + minute, "3h1m"],
    [8 * hour - 1, "7h59m"],
    [8 * hour, "8h"],
    [2 * 365 * day, "2y"],
  ];
  for (const [seconds, text] of cases) assert.equal(formatAge(seconds * 1000), text);
  assert.equal(formatAge(1999), "1s");
});
