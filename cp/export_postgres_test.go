package cp

// Warnings are what the log and /ready say of a configuration.
func Warnings(c Config) []string { return c.warnings() }
