package policy_test

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"koguma/policy"
)

// thing has a field of every type that documents are decoded into.
type thing struct {
	policy.Meta
	S    string              `json:"s"`
	N    int                 `json:"n"`
	U    uint16              `json:"u"`
	Q    uint64              `json:"q,string"`
	F    float64             `json:"f"`
	B    bool                `json:"b"`
	Data policy.Bytes        `json:"data"`
	D    policy.Duration     `json:"d"`
	T    time.Time           `json:"t"`
	P    *string             `json:"p"`
	H    *policy.Health      `json:"h"`
	L    []string            `json:"l"`
	M    map[string]string   `json:"m"`
	MM   map[string][]string `json:"mm"`
	A    any                 `json:"a"`
	O    map[string]any      `json:"o"`
}

// Whatever two readers could understand differently is refused, with the place and the reason.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100) // one too deep within an object
	many := "a: 1\n"
	for c := 'A'; c <= 'X'; c++ {
		many += string(c) + ": 1\n"
	}
	for _, test := range []struct{ name, in, want string }{
		{"empty", "", "line 1, column 1: the document is empty"},
		{"blank", " \n\n", "the document is empty"},
		{"comments only", "# nothing\n---\n# here\n", "the document is empty"},
		{"null", "null", "line 1, column 1: null where a value is needed"},
		{"list", "[]", "must be an object, not a list"},
		{"text", `"x"`, "must be an object, not text"},
		{"truncated JSON", `{"s":`, "line 1, column 6: not JSON: the document ends too early"},
		{"truncated JSON text", `{"s":"a`, "line 1, column 8: not JSON: the document ends too early"},
		{"truncated JSON list", "{\n\"l\": [", "line 2, column 7: not JSON: the document ends too early"},
		{"JSON comma", `{"s":"a",}`, "line 1, column 10: not JSON: invalid character '}'"},
		{"JSON unquoted", `{s: a}`, "line 1, column 2: not JSON"},
		{"JSON trailing text", `{"s":"a"} x`, "line 1, column 11: there is more after the end"},
		{"JSON second", `{"s":"a"}{}`, "line 1, column 10: there is more after the end"},
		{"JSON half pair", `{"s":"\ud83d"}`, "half a \\u surrogate pair"},
		{"JSON half pair in name", `{"m":{"\udc00":"x"}}`, "half a \\u surrogate pair"},
		{"JSON two first halves", `{"s":"\ud83d\ud83d\ude00"}`, "half a \\u surrogate pair"},
		{"YAML indentation", "s: a\n  n: b: c\n", "not YAML"},
		{"YAML tab", "h:\n\tready: true\n", "line 2, column 1: not YAML"},
		{"YAML control character", "s: a\x01b\n", "not YAML: control characters"},
		{"unknown field", "sorces: []", `line 1, column 1: unknown field "sorces": the fields here are`},
		{"unknown nested", "h:\n  redy: true", `line 2, column 3: h: unknown field "redy": the fields here are ready`},
		{"other case", "Name: x", `line 1, column 1: unknown field "Name": write name`},
		{"other case JSON", `{"NAME":"x"}`, `line 1, column 2: unknown field "NAME": write name`},
		{"no field for Version", "Version: 1", "unknown field"},
		{"no field for Meta", "Meta: {name: x}", "unknown field"},
		{"twice", "s: a\ns: b", `line 2, column 1: field "s" is given twice`},
		{"twice JSON", `{"s":"a","\u0073":"b"}`, `line 1, column 10: field "s" is given twice`},
		{"twice in map", "m: {a: x, 'a': y}", `line 1, column 11: field "a" is given twice`},
		{"twice in any", `{"a":{"b":1,"b":1}}`, `field "b" is given twice`},
		{"twice among many", "o:\n  " + strings.ReplaceAll(many, "\n", "\n  ") + "X: 1\n", `line 27, column 3: field "X" is given twice`},
		{"long names", strings.Repeat("x", 200) + ": 1", `unknown field "` + strings.Repeat("x", 60) + "\u2026\":"},
		{"after a bare return in a comment", "# c\rx: 1\n", `unknown field "x"`},
		{"after a bare return behind a separator", "--- # c\rx: 1\n{\"s\":\"a\"}\n", "not YAML"},
		{"no separator", "---#x\n{\"s\":\"a\"}\n", "must be an object, not text"},
		{"second document", "s: a\n---\ns: b\n", "line 3, column 1: a second document"},
		{"second after dots", "s: a\n...\ns: b\n", "not YAML"},
		{"second after a bare return", "s: a\r---\rs: b\n", "line 3, column 1: a second document"},
		{"second JSON", "{\"s\":\"a\"}\n---\n{\"s\":\"b\"}", "line 3, column 1: a second document"},
		{"anchor", "s: &x a", "line 1, column 4: anchors (&x)"},
		{"alias", "s: &x a\nm: {a: *x}", "anchors (&x)"},
		{"alias of nothing", "s: *x", "unknown anchor"},
		{"merge key", "m:\n  <<: {a: b}", "line 2, column 3: merge keys"},
		{"tag", "s: !!str 12", "tags (!!str)"},
		{"binary tag", "data: !!binary YQ==", "tags (!!binary)"},
		{"python tag", "s: !!python/object:os.system x", "tags ("},
		{"own tag", "s: !x a", "tags (!x)"},
		{"tag on a list", "l: !!seq [a]", "tags (!!seq)"},
		{"tag on a key", "!!str s: a", "tags (!!str)"},
		{"key that is a list", "? [a]\n: b", "a field's name must be text"},
		{"placeholder", "s: {{ s }}", "line 1, column 5: a field's name must be text; if {{ name }} is a variable"},
		{"missing value", "s:", "line 1, column 3: s: null where a value is needed"},
		{"null text", `{"s":null}`, "line 1, column 6: s: null where a value is needed"},
		{"null object", "h: ~", "h: null where a value is needed"},
		{"null list", "l: null", "l: null where a value is needed"},
		{"null in list", "l: [a, null]", "l[1]: null where a value is needed"},
		{"null in map", "m: {a: }", "m.a: null where a value is needed"},
		{"null time", `{"t":null}`, "t: null where a value is needed"},
		{"number as text", `{"s":12}`, "s: must be text, not a number"},
		{"boolean as text", `{"s":true}`, "s: must be text, not a boolean"},
		{"object as text", "s: {a: b}", "s: must be text, not an object"},
		{"ambiguous map key", "m: {no: x}", `line 1, column 5: m: "no" is a word`},
		{"number as map key", "m: {1: x}", `m: "1" is a number: quote it`},
		{"ambiguous in any", "a: [yes]", `a[0]: "yes" is a word that YAML readers disagree about: quote it`},
		{"ambiguous key in any", "o: {on: x}", `"on" is a word`},
		{"quoted number", `{"n":"80"}`, "n: must be a whole number without quotes"},
		{"quoted number YAML", "n: '80'", "n: must be a whole number without quotes"},
		{"fraction", "n: 80.5", "n: must be a whole number"},
		{"exponent", `{"n":8e1}`, "n: must be a whole number"},
		{"whole fraction", `{"n":80.0}`, "n: must be a whole number"},
		{"octal", "n: 010", "n: must be a whole number"},
		{"hex", "n: 0x10", "n: must be a whole number"},
		{"underscore", "n: 1_000", "n: must be a whole number"},
		{"too large", "n: 99999999999999999999", "n: \"99999999999999999999\" is too large"},
		{"too large for its type", "u: 65536", "u: \"65536\" is too large"},
		{"negative", "u: -1", "u: \"-1\" is too large, or negative"},
		{"number where quoted", `{"q":1}`, "q: must be a number in quotes"},
		{"word where quoted", `{"q":"x"}`, "q: must be a whole number"},
		{"boolean word", "b: yes", "b: must be true or false"},
		{"boolean capital", "b: True", "b: must be true or false"},
		{"boolean quoted", `{"b":"true"}`, "b: must be true or false"},
		{"boolean number", "b: 1", "b: must be true or false"},
		{"float word", "f: .inf", "f: must be a number"},
		{"float too large", "f: 1e999", "f: must be a number"},
		{"base64", "data: 'a$'", "data: must be base64"},
		{"base64 without padding", "data: YQ", "data: must be base64"},
		{"base64 with stray bits", "data: YR==", "data: must be base64"},
		{"base64 with an odd blank", "data: \"YQ\\u2028==\"", "data: must be base64"},
		{"base64 of URLs", "data: _-==", "data: must be base64"},
		{"time span", "d: 24", "d: \"24\" is no time span"},
		{"time", "t: 2020-01-01", "t: parsing time"},
		{"time boolean", "t: true", "t: must be text, not a boolean"},
		{"list for object", "h: []", "h: must be an object, not a list"},
		{"object for list", "l: {}", "l: must be a list, not an object"},
		{"text for map", "m: x", "m: must be an object, not text"},
		{"place in a list", "mm: {k: [a, 1]}", `line 1, column 13: mm.k[1]: "1" is a number: quote it`},
		{"byte order mark", "\uFEFFs: a", "byte order mark"},
		{"UTF-16", "\xff\xfes\x00:\x00", "UTF-16"},
		{"UTF-16 big", "\xfe\xff\x00s", "UTF-16"},
		{"UTF-16 without mark", "s\x00:\x00", "zero byte"},
		{"not UTF-8", "s: \xff", "not UTF-8"},
		{"not UTF-8 in JSON", "{\"s\":\"\xff\"}", "not UTF-8"},
		{"deep YAML", "a: " + deep, "too many lists and objects"},
		{"deep JSON", `{"a":` + deep + `}`, "too many lists and objects"},
		{"bomb of brackets", strings.Repeat("[", 100_000), "not YAML"},
		{"bomb of JSON brackets", `{"a":` + strings.Repeat("[", 100_000), "too many lists and objects"},
		{"too large", "s: " + strings.Repeat("a", 1<<20), "larger than 1 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var v thing
			err := policy.Decode([]byte(test.in), &v)
			var syntax *policy.SyntaxError
			if !errors.As(err, &syntax) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Plain words that some reader of YAML takes for something else than text have to be quoted, and then are text.
func TestDecodeAmbiguousText(t *testing.T) {
	t.Parallel()
	for _, word := range strings.Fields(`y Y n N yes Yes YES no No NO on On ON off OFF true True TRUE false FALSE ~ null Null
		NULL 0 12 -12 +12 010 0o10 0x10 0b1 1_000 1.5 1. .5 1e3 1E3 1.5e-3 .inf -.Inf .NaN 12:30 12:30:45 190:20:30.15 =
		2020-01-01 2020-1-1 2020-01-01T00:00:00Z`) {
		var v thing
		if err := policy.Decode([]byte("s: "+word), &v); err == nil {
			t.Errorf("s: %s is taken as %q", word, v.S)
		} else if !strings.Contains(err.Error(), "quote it") && !strings.Contains(err.Error(), "null where a value is needed") {
			t.Errorf("s: %s: %v", word, err)
		}
		for _, in := range []string{"s: '" + word + "'", "s: \"" + word + "\"", "s: |-\n  " + word + "\n", `{"s":"` + word + `"}`} {
			if err := policy.Decode([]byte(in), &v); err != nil || v.S != word {
				t.Errorf("%q is %q, %v", in, v.S, err)
			}
		}
	}
	for _, word := range strings.Fields(`web nope one a1 1a 1.2.3 127.0.0.1 10.0.0.1:80 0e120ec9-6b42 v1 x=y ::1 null-1 12:90`) {
		var v thing
		if err := policy.Decode([]byte("s: "+word), &v); err != nil || v.S != word {
			t.Errorf("s: %s is %q, %v", word, v.S, err)
		}
	}
}

// JSON and YAML say the same.
func TestDecodeValues(t *testing.T) {
	t.Parallel()
	yaml := "---\r\n# a thing\r\ntype: Mesh\nname: x\nlabels: {a: b}\ns: 'no'\nn: -80\nu: 65535\nq: \"18446744073709551615\"\nf: 1.5e1\n" +
		"b: true\ndata: |\n  YW\n  Jj\nd: 1d\nt: 2020-01-02T03:04:05Z\np: null\nh:\n  ready: false\nl: [a, b]\nm: {k: 'v: \\ud'}\n" +
		"mm: {k: [a]}\na: [1.50, true, null, {x: ''}]\no: {k: 12345678901234567890}\n...\n---\n"
	text := `{"type":"Mesh","name":"x","labels":{"a":"b"},"s":"no","n":-80,"u":65535,"q":"18446744073709551615","f":1.5e1,
		"b":true,"data":" YW\r\n\tJj\n","d":"24h","t":"2020-01-02T03:04:05Z","p":null,"h":{"ready":false},"l":["a","b"],
		"m":{"k":"v: \\ud"},"mm":{"k":["a"]},"a":[1.50,true,null,{"x":""}],"o":{"k":12345678901234567890}}` + "\n"
	want := thing{
		Meta: policy.Meta{Type: policy.TypeMesh, Name: "x", Labels: map[string]string{"a": "b"}},
		S:    "no", N: -80, U: 65535, Q: 1<<64 - 1, F: 15, B: true, Data: policy.Bytes("abc"),
		D: policy.Duration(24 * time.Hour), T: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC),
		H: &policy.Health{}, L: []string{"a", "b"}, M: map[string]string{"k": `v: \ud`}, MM: map[string][]string{"k": {"a"}},
		A: []any{json.Number("1.50"), true, nil, map[string]any{"x": ""}}, O: map[string]any{"k": json.Number("12345678901234567890")},
	}
	for _, in := range []string{yaml, text} {
		got := thing{P: new(string), L: []string{"old", "old", "old"}, M: map[string]string{"old": "x"}}
		if err := policy.Decode([]byte(in), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	deep := strings.Repeat("[", 99) + strings.Repeat("]", 99)
	for _, in := range []string{"a: " + deep, `{"a":` + deep + `}`} {
		if err := policy.Decode([]byte(in), &thing{}); err != nil {
			t.Errorf("as deep as allowed: %v", err)
		}
	}
	pair := thing{}
	if err := policy.Decode([]byte(`{"s":"\ud83d\ude00\\ud83d"}`), &pair); err != nil || pair.S != "\U0001F600\\ud83d" {
		t.Errorf("got %q, %v", pair.S, err)
	}
}

// What a document leaves out stays as it was: that is how defaults are given.
func TestDecodeKeepsDefaults(t *testing.T) {
	t.Parallel()
	v := thing{N: 5681, S: "127.0.0.1", H: &policy.Health{Ready: true}}
	if err := policy.Decode([]byte("n: 1\nh: {}\n"), &v); err != nil {
		t.Fatal(err)
	}
	if v.N != 1 || v.S != "127.0.0.1" || !v.H.Ready {
		t.Errorf("got %+v", v)
	}
}

// DecodeOpen passes over what it does not know and is as strict as Decode otherwise.
func TestDecodeOpen(t *testing.T) {
	t.Parallel()
	var v thing
	if err := policy.DecodeOpen([]byte(`{"other":{"x":[1]},"h":{"more":1,"ready":true},"s":"a"}`), &v); err != nil || v.S != "a" || !v.H.Ready {
		t.Errorf("got %+v, %v", v, err)
	}
	large := `{"l":["` + strings.Repeat("a", 2<<20) + `"]}`
	if err := policy.DecodeOpen([]byte(large), &v); err != nil {
		t.Error(err)
	}
	for in, want := range map[string]string{
		`{"S":"a"}`:               `unknown field "S": write s`,
		`{"x":1,"x":1}`:           "given twice",
		`{"x":{"y":1,"y":1}}`:     "given twice",
		`{"s":"a"} {}`:            "there is more",
		`{"s":"a"}x`:              "there is more",
		`{"s":null}`:              "null where a value is needed",
		`null`:                    "null where a value is needed",
		``:                        "ends too early",
		"s: a":                    "not JSON",
		"\xff":                    "not UTF-8",
		`{"x":` + brackets + `}`:  "too many",
		`{"s":"a","n":"1"}`:       "without quotes",
		`{"n":1.0}`:               "whole number",
		`{"mm":{"a":["x",null]}}`: "mm.a[1]: null where a value is needed",
	} {
		if err := policy.DecodeOpen([]byte(in), &v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", in, err, want)
		}
	}
}

var brackets = strings.Repeat("[", 200) + strings.Repeat("]", 200)

// A value that is refused may be secret.
func TestDecodeShowsNoSecret(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"data: hunter2", "data: 'hunter2'", `{"data":"hunter2"}`, `{"data":["hunter2"]}`, `{"data":"hunter2`} {
		var s policy.Secret
		if err := policy.Decode([]byte(in), &s); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// The place is counted in characters and lines, whatever stands before it.
func TestDecodePlace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in        string
		line, col int
	}{
		{"# ü\r\n\r\ns: 'ü'\r\nx: 1\r\n", 4, 1},
		{"{\"s\":\"ü\",\r\n  \"x\": 1}", 2, 3},
		{"---\n# c\n---\n--- # d\n{\"x\": 1}", 5, 2},
		{"---\n\n---\ns: a\nh: {x: 1}", 5, 5},
	} {
		var v thing
		var err *policy.SyntaxError
		if !errors.As(policy.Decode([]byte(test.in), &v), &err) || err.Line != test.line || err.Column != test.col {
			t.Errorf("%q: %v, want line %d, column %d", test.in, err, test.line, test.col)
		}
	}
}

// Bad input 8: the largest documents are refused or read quickly, and in little memory. It runs alone, for others allocate too.
func TestDecodeBombs(t *testing.T) {
	const most = 50 << 20 // bytes
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'm'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 9), ",") + "]\n"
	}
	for name, in := range map[string]string{
		"aliases":  bomb,
		"brackets": strings.Repeat("[", 100_000),
		"braces":   strings.Repeat("{\"a\":", 100_000),
		"dashes":   strings.Repeat("- ", 100_000),
		"markers":  strings.Repeat("---\n", 1<<18),
		"question": strings.Repeat("? ", 100_000),
		"opened":   strings.Repeat("{{", 1<<19),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		var v any
		if err := policy.Decode([]byte(in), &v); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := policy.ParseVars([]byte(in), nil); err == nil {
			t.Errorf("%s: accepted with variables", name)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s: refused after %v", name, d)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > most {
			t.Errorf("%s: refused after %d MiB were allocated", name, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}
