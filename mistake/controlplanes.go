package mistake

// controlPlanes are the mistakes on the way from a proxy to its control plane.
func controlPlanes() []Entry {
	return []Entry{{
		Code:  ControlPlaneAway,
		Title: "the control plane cannot be reached",
		Cause: "nobody listens at the address, its name is unknown here, or what is in between lets nothing through",
		Next:  []string{"kuma-dp run --cp-address https://HOST:5678 ...", "curl -kv --max-time 5 https://HOST:5678"},
		More: []string{
			"*connection refused*: the machine is there, and nothing listens at that port. kuma-cp does not run, or has the " +
				"port elsewhere (`KUMA_DP_SERVER_PORT`); in a container, `localhost` is the container.",
			"*no such host*: the name is not known on this machine. Try `getent hosts HOST`.",
			"*timeout*, *no route*: a firewall or a security group, mostly. Port 5678 has to be open from the proxy to the " +
				"control plane, and nothing in the other direction.",
			"An agent that was let in before goes on trying for ever, and its Envoy goes on with what it has.",
		},
	}, {
		Code:  ControlPlaneOther,
		Title: "this is not the control plane that the token is from",
		Cause: "the token names the CA of its control plane, and who answers at the address has another one",
		Next:  []string{"kumactl config control-planes list", generate},
		More: []string{
			"Nothing was sent to it, the token least of all. Either `--cp-address` leads to another control plane than " +
				"kumactl talked to when the token was made, or the control plane was set up anew with an empty store: then its CA " +
				"is a new one, and all tokens have to be made anew. Or somebody is in between, and this is what keeps the token " +
				"from him.",
			"The CA is in the store, so a control plane that moves with its store keeps it, and those that share a store have " +
				"the same.",
		},
	}, {
		Code:  ControlPlaneUntrusted,
		Title: "the certificate of the control plane is not trusted",
		Cause: "no CA that is known here vouches for who answers at the address under that name",
		Next:  []string{"kuma-dp run --ca-cert-file CA_FILE ..."},
		More: []string{
			"A token that this control plane made names its CA, and then nothing has to be given. This one names none: it was " +
				"made offline, or there is no token. With `--ca-cert-file` or for CAs of the system, the certificate has to be " +
				"for the host in `--cp-address` too.",
			"The CA of a control plane that made its own is in the file `kuma-cp-ca.crt` in its work directory " +
				"(`KUMA_GENERAL_WORK_DIR`, `$HOME/.kuma` by default). It is no secret; copy it in a way in which nobody can " +
				"exchange it.",
		},
	}, {
		Code:  ControlPlaneNone,
		Title: "something else answers there",
		Cause: "who answers at the address does not speak as the server for proxies of a control plane does",
		Next:  []string{"kuma-dp run --cp-address https://HOST:5678 ..."},
		More: []string{
			"A control plane has several ports: 5678 for proxies (https), 5681 for people (http), 5682 for people (https), " +
				"5683 for other control planes. The agent takes `https://HOST:5678`, or `http://HOST:5681` and asks there for the " +
				"former.",
			"A proxy or load balancer in between has to pass TLS through, and not end it: agent and control plane have to see " +
				"each other's certificates.",
		},
	}}
}
