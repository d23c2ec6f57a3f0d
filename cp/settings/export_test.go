package settings

import "reflect"

// Variable is a setting and the environment variable for it; what is in a list has none.
type Variable struct{ Path, Name string }

// Variables are all settings, also those that lack a variable.
func Variables() []Variable { return variablesOf("", reflect.TypeFor[Config]()) }

func variablesOf(path string, t reflect.Type) []Variable {
	var all []Variable
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Tag.Get("json") == "-":
		case f.Type.Kind() == reflect.Slice:
			all = append(all, variablesOf(path+f.Tag.Get("json")+"[].", f.Type.Elem())...)
		case f.Type.Kind() == reflect.Struct:
			all = append(all, variablesOf(path+f.Tag.Get("json")+".", f.Type)...)
		default:
			all = append(all, Variable{path + f.Tag.Get("json"), f.Tag.Get("env")})
		}
	}
	return all
}
