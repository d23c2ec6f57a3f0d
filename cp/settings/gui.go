package settings

// GUIConfig is for the page that shows the mesh, which the API serves at /gui.
type GUIConfig struct {
	Enabled bool `json:"enabled" env:"KUMA_API_SERVER_GUI_ENABLED"`
}
