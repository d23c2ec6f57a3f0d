package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"koguma/store"
)

// Ports is a port, or several with commas between them.
type Ports string

// UnmarshalText implements [encoding.TextUnmarshaler]: a number is a port, too.
func (p *Ports) UnmarshalText(text []byte) error {
	*p = Ports(text)
	return nil
}

// MarshalJSON implements [json.Marshaler]: one port is a number.
func (p Ports) MarshalJSON() ([]byte, error) {
	if n, err := strconv.Atoi(string(p)); err == nil {
		return json.Marshal(n)
	}
	return json.Marshal(string(p))
}

// hosts is where Postgres is: each host with a port of its own, or all with the one there is.
func (p *PostgresStoreConfig) hosts() ([]store.PostgresHost, error) {
	if p.Host == "" {
		return nil, errors.New("store.postgres.host: not set; set KUMA_STORE_POSTGRES_HOST")
	}
	names, ports := strings.Split(p.Host, ","), strings.Split(string(p.Port), ",")
	if len(ports) > 1 && len(ports) != len(names) {
		return nil, fmt.Errorf("store.postgres.port: there are %d for %d hosts; give one, or one for each", len(ports), len(names))
	}
	var hosts []store.PostgresHost
	for i, name := range names {
		if name = strings.TrimSpace(name); name == "" {
			return nil, errors.New("store.postgres.host: a name between the commas is missing")
		}
		text := strings.TrimSpace(ports[min(i, len(ports)-1)])
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("store.postgres.port: %q is no port; use 1 to 65535", text)
		}
		hosts = append(hosts, store.PostgresHost{Name: name, Port: int(port)})
	}
	return hosts, nil
}
