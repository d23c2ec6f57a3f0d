package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"koguma/policy"
)

// mostLock is how long to wait for another kumactl that changes the configuration, which takes it no time.
const mostLock = 5 * time.Second

// configPath is the file in use, and whether it is the default one.
func (c *cli) configPath() (path string, byDefault bool, err error) {
	if c.configFile != "" {
		return c.configFile, false, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", true, fmt.Errorf("no home directory to find the configuration in (%w): use --config-file or --no-config", err)
	}
	return filepath.Join(home, ".kumactl", "config"), true, nil
}

// readConfig reads the configuration. The first run makes the default file.
func (c *cli) readConfig() (*config, error) {
	if c.noConfig {
		return defaultConfig(), nil
	}
	path, byDefault, err := c.configPath()
	if err != nil {
		return nil, err
	}
	cfg, err := loadConfig(path)
	if errors.Is(err, fs.ErrNotExist) && byDefault {
		err = c.changeConfig(func(found *config) error { // by somebody else, perhaps, since
			cfg = found
			return nil
		})
	}
	return cfg, err
}

// changeConfig reads the configuration, changes it, and replaces the file as a whole: whoever reads it meanwhile sees the old one
// or the new one, and whoever changes it at the same time waits.
func (c *cli) changeConfig(change func(*config) error) error {
	if c.noConfig {
		return errors.New("--no-config leaves no file to change")
	}
	path, byDefault, err := c.configPath()
	if err != nil {
		return err
	}
	if byDefault {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return unwritable(err)
		}
	} else if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	unlock, err := lockFile(path+".lock", mostLock)
	if err != nil {
		return unwritable(err)
	}
	defer unlock()
	cfg, err := loadConfig(path)
	if errors.Is(err, fs.ErrNotExist) && byDefault {
		cfg, err = defaultConfig(), nil
	}
	if err != nil {
		return err
	}
	before := readers(path, cfg)
	if err := change(cfg); err != nil {
		return err
	}
	text, err := policy.EncodeYAML(cfg)
	if err != nil {
		return err
	}
	if err := replaceFile(path, text); err != nil {
		return unwritable(err)
	}
	if before != 0 {
		c.warn("others on this machine could read the headers in %s, by its mode %04o; it is 0600 now", path, before)
	}
	return nil
}

func unwritable(err error) error {
	return fmt.Errorf("cannot write the configuration (--no-config does without): %w", err)
}

// loadConfig reads the file.
func loadConfig(path string) (*config, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	cfg := new(config)
	err = policy.Decode(text, cfg)
	if err == nil {
		err = cfg.check()
	}
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	return cfg, nil
}

// readers is the mode of the file if others than its owner may read headers in it, which may be credentials; else 0.
func readers(path string, cfg *config) fs.FileMode {
	if !slices.ContainsFunc(cfg.ControlPlanes, func(cp controlPlane) bool { return len(cp.Coordinates.APIServer.Headers) > 0 }) {
		return 0
	}
	return othersRead(path)
}

// othersRead is the mode of a file if others than its owner may read or write it; else 0.
func othersRead(path string) fs.FileMode {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return 0
	}
	return info.Mode().Perm()
}

// check reports what could be understood in two ways, or is not obeyed.
func (cfg *config) check() error {
	for i, cp := range cfg.ControlPlanes {
		if cfg.controlPlane(cp.Name) != &cfg.ControlPlanes[i] {
			return fmt.Errorf("controlPlanes[%d]: there is another one with the name %q: rename or remove one of them", i, cp.Name)
		}
	}
	for i, ctx := range cfg.Contexts {
		if cfg.contextOf(ctx.Name) != &cfg.Contexts[i] {
			return fmt.Errorf("contexts[%d]: there is another one with the name %q: rename or remove one of them", i, ctx.Name)
		}
		if ctx.Defaults != nil && ctx.Defaults.Mesh != "" && ctx.Defaults.Mesh != "default" {
			return fmt.Errorf("contexts[%d].defaults.mesh: commands do not go by it: remove it, and give --mesh %s", i, ctx.Defaults.Mesh)
		}
	}
	return nil
}

// lockFile waits until nobody else has the lock, for so long at most. The file that stands for it stays: who removed it could
// remove that of somebody who waits.
func lockFile(path string, most time.Duration) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(most); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case errors.Is(err, syscall.EWOULDBLOCK) && time.Now().Before(deadline), errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			err = fmt.Errorf("another kumactl has been changing it for %v", most)
		}
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
}

// replaceFile writes the file anew, with mode 0600. Where the path is a link, the file that it leads to.
func replaceFile(path string, text []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".config-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails, as it should, once the file has its name
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
