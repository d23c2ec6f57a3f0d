package testenv_test

import (
	"strings"
	"testing"

	"koguma/testenv"
)

// listed has the Mesh list another backend.
const listed = `kumactl get mesh default -o yaml >mesh.yaml
printf '    - name: ca-2\n      type: builtin\n' >>mesh.yaml
kumactl apply --wait -f mesh.yaml
`

// What the README says to do by hand does what its comments say. The mesh of two backends it leaves to the reader.
func TestReadmeByHand(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(document(t, "README.md"), "\n## By hand\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := testenv.Blocks(section)
	for i, b := range blocks {
		blocks[i].Output = said(b.Commands)
		b.Commands = strings.Replace(b.Commands, "sleep 1 ", "sleep 3 ", 1) // a busy machine's second
		if strings.Contains(b.Commands, "rotate ca --to ca-2") {
			b.Commands = listed + b.Commands
		}
		blocks[i].Commands = b.Commands
	}
	if len(blocks) < 5 {
		t.Fatalf("by hand there are %d blocks", len(blocks))
	}
	follow(t, t.TempDir(), blocks)
}

// said is what the comments beside a block's commands say that they print, in this order, whatever is between.
func said(commands string) string {
	var output string
	for line := range strings.Lines(commands) {
		command, comment, _ := strings.Cut(line, "# ")
		switch {
		case !strings.HasPrefix(command, "curl "):
		case strings.Contains(comment, "OK"):
			output += "...OK...\n...\n"
		case strings.Contains(comment, "listing"):
			output += "...Directory listing for /...\n...\n"
		case strings.Contains(comment, "RBAC: access denied"):
			output += "...RBAC: access denied...\n...\n"
		}
	}
	if output != "" {
		output = "...\n" + output
	}
	return output
}
