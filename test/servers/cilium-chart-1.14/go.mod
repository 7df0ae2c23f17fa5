module clustermesh-secrets.test/cilium-chart-1.14

go 1.26.0

require github.com/cilium/cilium v1.14.19 // indirect
