package mistake

// tokens are the mistakes with tokens.
func tokens() []Entry {
	return []Entry{{
		Code:  TokenMissing,
		Title: "the proxy has no token",
		Cause: "the control plane lets nobody in who shows no token, and the agent has none, or cannot read the file with it",
		Next:  []string{generate, "kuma-dp run --dataplane-token-file TOKEN_FILE ..."},
		More: []string{
			"The token is read with the rights of the user that runs `kuma-dp`. A file that belongs to another user, or a " +
				"folder that this user may not enter, is the same to it as none.",
			"A relative path counts from the folder that `kuma-dp` was started in; a service manager starts it in `/`.",
		},
	}, {
		Code:  TokenMalformed,
		Title: "what was given as the token is none",
		Cause: "a token is one line that begins with eyJ, and has two dots in it; this is something else, or only a part of one",
		Next:  []string{generate},
		More: []string{
			"Mostly it is the wrong file: a key or a certificate (those begin with `-----BEGIN`), the answer of an API in " +
				"JSON, or an empty file that a failed command left. Or the token was copied from a terminal that broke the line.",
			"Do not paste the content of the file anywhere in search of help: if it is a key, it has to be replaced then.",
		},
	}, {
		Code:  TokenExpired,
		Title: "the token has expired",
		Cause: "a token is good until the end that it was made with, and that is over by the clock here",
		Next:  []string{generate},
		More: []string{
			"Write the new token to the same file: an agent that runs takes it up within a second, and no connection is lost. " +
				"`/ready` and the log say when two thirds of a token's life are over, and `kuma_dp_token_not_after_seconds` when " +
				"it ends.",
			"If the token should be good still, look at the clock: `date -u` here and where the token was made.",
		},
	}, {
		Code:  ClocksDiffer,
		Title: "two clocks differ",
		Cause: "a token or certificate begins in the future by the clock of whoever judges it, or has ended although it is fresh",
		Next:  []string{"date -u", "timedatectl set-ntp true"},
		More: []string{
			"Compare the clocks of three machines: that of the proxy, that of the control plane, and the one where the token " +
				"was made, if that was made offline. A minute of difference is allowed for.",
			"Time zones make no difference: tokens and certificates have their times in UTC. A machine without a battery for " +
				"its clock, or one that was asleep, is the usual case; so is a virtual machine that was resumed from a snapshot.",
		},
	}, {
		Code:  TokenForeign,
		Title: "the token was signed with a key that the mesh does not have",
		Cause: "the token comes from another control plane, or its signing key has been rotated away, or the mesh was made anew",
		Next:  []string{generate},
		More: []string{
			"Make the token with the control plane that the proxy connects to: `kumactl config control-planes list` shows " +
				"which one kumactl talks to. Each mesh has signing keys of its own, and they go when the mesh is deleted.",
			"`curl http://127.0.0.1:5681/meshes/MESH/signing-keys`, on the machine of the control plane, shows the keys that " +
				"there are. The control plane tells nobody whose token it could not verify which of these is the case.",
		},
	}, {
		Code:  TokenRevoked,
		Title: "the token is revoked",
		Cause: "somebody has put the token on the list of revoked tokens, or used kumactl revoke",
		Next:  []string{generate},
		More: []string{
			"Ask why before you make another one: a token is revoked because somebody else may have it. The audit log of the " +
				"control plane says when it was done, and has the id of the token as `jti`.",
			"Its certificates are withdrawn too, and stay so. With the new token the proxy gets new ones.",
		},
	}, {
		Code:  TokenMesh,
		Title: "the token is for another mesh",
		Cause: "a token is for one mesh, and the proxy is in another, by its definition or by --mesh",
		Next:  []string{generate},
		More: []string{
			"Without `--mesh`, and without a mesh in the definition, a proxy is in the mesh `default`. If that is what is " +
				"wrong, give `--mesh`, and keep the token.",
		},
	}, {
		Code:  TokenName,
		Title: "the token is for another proxy",
		Cause: "a token with a name in it is for the Dataplane of that name only, and this one has another",
		Next:  []string{generate},
		More: []string{
			"If it is the name that is wrong, mend `--name`, or `name` in the definition, and keep the token. A token without " +
				"`--name` is good for all proxies that have its tags; use it for instances whose names nobody knows before.",
		},
	}, {
		Code:  TokenTags,
		Title: "the token is for another service, or for other tags",
		Cause: "each inbound of the proxy must have each tag of the token, with one of the values that it allows",
		Next:  []string{generate},
		More: []string{
			"Mend the tags of the Dataplane if those are wrong, and keep the token. With several inbounds, each of them " +
				"counts: give all their services to the token, as `--tag kuma.io/service=web,admin`.",
			"It holds too for the Dataplane that is stored under the same name: who has a token for one service cannot take " +
				"over a proxy of another. If the proxy has changed its service, delete the old one: `kumactl delete dataplane " +
				"NAME --mesh MESH`.",
		},
	}}
}
