module clustermesh-secrets.test/cilium-chart-1.16

go 1.26.0

require github.com/cilium/cilium v1.16.19 // indirect
