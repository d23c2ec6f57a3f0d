package cp

import (
	"runtime/debug"
	"strings"
)

// Version is the version of this program: that of its module, or "dev" where the build knew none.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}
