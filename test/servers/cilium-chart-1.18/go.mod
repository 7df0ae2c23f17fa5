module clustermesh-secrets.test/cilium-chart-1.18

go 1.26.0

require github.com/cilium/cilium v1.18.6 // indirect
