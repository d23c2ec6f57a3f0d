package mistake

// proxies are the mistakes beside the proxy.
func proxies() []Entry {
	return []Entry{{
		Code:  ProxyPort,
		Title: "a port of the proxy is taken",
		Cause: "another program listens at an address where the agent or its Envoy should",
		Next:  []string{"ss -ltnp 'sport = :PORT'"},
		More: []string{
			"Often it is the service itself: an inbound's `port` is Envoy's, and `servicePort` is where the service listens. " +
				"They may have the same number only on different addresses, such as 192.0.2.7 for Envoy and 127.0.0.1 for the " +
				"service.",
			"Or it is a second proxy on this machine: give each another address or other ports. The readiness port is 9902 or " +
				"any that is free, unless `--readiness-port` asks for a certain one.",
			"Stop the other program, or change the port in the Dataplane and apply it. The agent offers Envoy its listeners again every " +
				"few seconds, so that it goes on by itself when the port is free; `/ready` says what is in the way.",
		},
	}, {
		Code:  EnvoyMissing,
		Title: "there is no Envoy that runs here",
		Cause: "the agent starts Envoy, and does not find it, or may not run it, or what is there is no Envoy for this machine",
		Next:  []string{"kuma-dp run --binary-path /PATH/TO/envoy ...", "/PATH/TO/envoy --version"},
		More: []string{
			"`--binary-path` with a slash in it is taken as it is; a name is looked for in `PATH`, in the working directory, " +
				"and beside `kuma-dp`. A service manager has a `PATH` of its own.",
			"*permission denied*: `chmod +x`, and look at the mount option `noexec`. *exec format error*: it is for another " +
				"processor. *no such file* for a file that is there: it is for another C library, such as glibc's on Alpine.",
		},
	}, {
		Code:  DataplaneInvalid,
		Title: "the definition of the Dataplane is not right",
		Cause: "the definition cannot be read, or has something in it that a Dataplane must not have, or lacks what it must",
		Next:  []string{"kuma-dp run --dataplane-file DATAPLANE_FILE ..."},
		More: []string{
			"The error names the field. Unknown fields are errors: one that is misspelt would have no effect otherwise.",
			"`{{ variables }}` are given with `--dataplane-var NAME=VALUE`; each that is in the file has to be given, and no " +
				"other.",
			"The smallest definition that works:",
			"```yaml\ntype: Dataplane\nmesh: default\nname: web-1\nnetworking:\n  address: 192.0.2.7\n  inbound:\n" +
				"  - port: 10080\n    servicePort: 8080\n    tags:\n      kuma.io/service: web\n```",
		},
	}, {
		Code:  DataplaneMissing,
		Title: "there is no Dataplane of that name",
		Cause: "the agent brought no definition along, and nobody has applied one under this name in this mesh",
		Next:  []string{"kumactl apply -f DATAPLANE_FILE", "kuma-dp run --dataplane-file DATAPLANE_FILE ..."},
		More: []string{
			"`kumactl get dataplanes --mesh MESH` shows those that there are. Is it the right mesh? Without `--mesh` it is " +
				"`default`.",
			"A Dataplane that an agent brought along goes when the agent leaves; one that was applied stays.",
		},
	}}
}
