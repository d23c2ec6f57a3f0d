package mistake

// servers are the mistakes with the control plane and with kumactl.
func servers() []Entry {
	return []Entry{{
		Code:  ServerPort,
		Title: "a port of the control plane is taken",
		Cause: "another program listens there already, mostly another kuma-cp",
		Next:  []string{"ss -ltnp 'sport = :PORT'", "SETTING=ANOTHER_PORT kuma-cp run"},
		More: []string{
			"The error names the setting that the port comes from. Agents that are told of the API find another port for " +
				"proxies by themselves; those that are told `https://HOST:5678` have to be told the new one.",
		},
	}, {
		Code:  StoreInUse,
		Title: "the store is in use by another kuma-cp",
		Cause: "one process at a time may have the file of the store open, so that no two write to it",
		Next:  []string{"fuser -v WORK_DIR/koguma.db", "KUMA_GENERAL_WORK_DIR=ANOTHER_FOLDER kuma-cp run"},
		More: []string{
			"Stop the other one if it is the one that you mean to replace. For a second control plane of its own, give it a " +
				"work directory of its own; for several that share what they know, use Postgres (`doc/operations.md`).",
			"`kuma-cp backup`, `restore` and `rekey` need the file for themselves too.",
		},
	}, {
		Code:  PostgresAway,
		Title: "Postgres cannot be reached, or lets nobody in",
		Cause: "the control plane keeps all it knows in Postgres, and does not get into it with these settings",
		Next:  []string{"psql 'host=HOST port=PORT user=USER dbname=DATABASE' -c 'select 1'", "kuma-cp config"},
		More: []string{
			"*connection refused*: Postgres does not run, or listens elsewhere (`listen_addresses` in `postgresql.conf`). " +
				"*password authentication failed*, *no pg_hba.conf entry*: it is the right Postgres, and the user, the password " +
				"or the way in is wrong. *database does not exist*: `createdb`.",
			"`kuma-cp config` shows the settings as they are understood, without passwords.",
			"A control plane that has started goes on without Postgres: proxies keep what they have and come back, and " +
				"changes are refused until it is there again.",
		},
	}, {
		Code:  PostgresNotReady,
		Title: "the tables in Postgres are not those that this kuma-cp needs",
		Cause: "the database is new, or an older or newer kuma-cp has made its tables",
		Next:  []string{"kuma-cp migrate up"},
		More: []string{
			"Run it once, with the same settings as `kuma-cp run`. It waits for another one that is doing the same, and " +
				"changes nothing where nothing is to be done. There is no way back: make a backup before (`kuma-cp backup`).",
			"A database with tables that something newer made is refused: use that version.",
		},
	}, {
		Code:  APIAway,
		Title: "kumactl does not reach the control plane",
		Cause: "nobody listens at the address that kumactl has for it, or it is no control plane who does",
		Next: []string{"kumactl config control-planes list",
			"kumactl config control-planes add --overwrite --name NAME --address http://HOST:5681"},
		More: []string{
			"kumactl talks to the control plane that its current context names, `http://localhost:5681` if there is none. " +
				"`--context NAME` takes another one, once.",
			"The API listens on 127.0.0.1 unless told otherwise. From another machine use its TLS server: start kuma-cp with " +
				"`KUMA_API_SERVER_HTTPS_ENABLED=true`, and add it as `https://HOST:5682`.",
		},
	}, {
		Code:  ReadOnly,
		Title: "kumactl may not do that here",
		Cause: "whoever calls from another machine may only read, unless a client certificate says that this is an administrator",
		Next: []string{"kumactl config control-planes add --overwrite --name NAME --address https://HOST:5682 " +
			"--ca-cert-file CA_FILE --client-cert-file CERT_FILE --client-key-file KEY_FILE"},
		More: []string{
			"`kumactl generate tls-certificate --type client` makes such a certificate. The control plane takes those that " +
				"lie in its folder of client certificates (`KUMA_API_SERVER_AUTH_CLIENT_CERTS_DIR`), which is where the " +
				"certificate goes, without its key.",
			"On the machine of the control plane everybody may do everything, at `http://localhost:5681`, unless that was " +
				"turned off (`KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN`).",
		},
	}, {
		Code:  MeshMissing,
		Title: "there is no such mesh",
		Cause: "the control plane has no mesh of that name; only default is there from the beginning",
		Next:  []string{"kumactl get meshes", `printf 'type: Mesh\nname: MESH\n' | kumactl apply -f -`},
		More: []string{
			"Is it the right control plane? `kumactl config control-planes list` shows which one kumactl talks to.",
			"A mesh that is made anew under an old name has other keys: tokens and certificates of the old one are worth nothing in it.",
		},
	}}
}
