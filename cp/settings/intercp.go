package settings

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// InterCPConfig is for what the control planes of one store tell each other.
type InterCPConfig struct {
	Server  InterCPServerConfig  `json:"server"`
	Catalog InterCPCatalogConfig `json:"catalog"`
}

// InterCPServerConfig is for the server that the other control planes connect to. There is one where the store can be shared.
type InterCPServerConfig struct {
	Interface string `json:"interface" env:"KUMA_INTER_CP_SERVER_INTERFACE"`
	Port      int    `json:"port" env:"KUMA_INTER_CP_SERVER_PORT"`
}

// InterCPCatalogConfig is what the others find in the store.
type InterCPCatalogConfig struct {
	// InstanceAddress is the IP address at which the others reach this control plane; "" is one of this machine, and not its
	// loopback if there is another.
	InstanceAddress string `json:"instanceAddress" env:"KUMA_INTER_CP_CATALOG_INSTANCE_ADDRESS"`
}

// Shared reports whether other control planes may work on the store as well.
func (c *StoreConfig) Shared() bool { return c.Type == StorePostgres }

func defaultInterCP() InterCPConfig {
	return InterCPConfig{Server: InterCPServerConfig{Interface: "0.0.0.0", Port: 5683}}
}

func (c *InterCPConfig) validate() error {
	if a := c.Catalog.InstanceAddress; a != "" {
		if _, err := netip.ParseAddr(a); err != nil {
			return fmt.Errorf("interCp.catalog.instanceAddress: %q is no IP address; use that of this machine, as the other control planes see it", a)
		}
	}
	return validAddress("interCp.server", "port", c.Server.Interface, c.Server.Port)
}

// Address is where the others reach the server, which listens at that port.
func (c *InterCPConfig) Address(port int) string {
	host := c.Catalog.InstanceAddress
	if host == "" {
		host = c.Server.Interface
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
			host = ownAddress()
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// ownAddress is the first address of this machine that others can reach, or that of the loopback if there is none.
func ownAddress() string {
	addrs, _ := net.InterfaceAddrs() // without any, the loopback is as good a guess as there is
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
