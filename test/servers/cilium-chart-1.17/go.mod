module clustermesh-secrets.test/cilium-chart-1.17

go 1.26.0

require github.com/cilium/cilium v1.17.16 // indirect
