package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Origins tells where the values of settings come from, by name: "default", "flag", the name of the environment variable, or the file and its line. r must be the
// resolver of the parse.
func Origins(parsed *kong.Context, r *Resolver) map[string]string {
	given := make(map[string]bool)
	for _, p := range parsed.Path {
		if p.Flag != nil && !p.Resolved {
			given[p.Flag.Name] = true
		}
	}
	origins := make(map[string]string)
	for _, s := range Settings() {
		e, inFile := r.values[s.Name]
		switch {
		case given[s.Name]:
			origins[s.Name] = "flag"
		case isSet(s.Env):
			origins[s.Name] = s.Env
		case inFile:
			origins[s.Name] = fmt.Sprintf("%s:%d", r.path, e.line)
		default:
			origins[s.Name] = "default"
		}
	}
	return origins
}

// serviceLink matches the variables that Kubernetes sets for a Service whose name begins with penstock.
var serviceLink = regexp.MustCompile(`^PENSTOCK_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)$`)

// Unknown returns a warning for each variable of an environment that looks like a setting and is none. They are not refused: a variable may be of a later version,
// or for another program.
func Unknown(app *kong.Application, environ []string) []string {
	known := make(map[string]bool)
	for _, node := range append(app.Leaves(false), app.Node) {
		for _, f := range node.Flags {
			for _, env := range f.Envs {
				known[env] = true
			}
		}
	}
	var warnings []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		near := nearestEnv(name)
		if !strings.HasPrefix(name, "PENSTOCK_") || known[name] || near == "" && serviceLink.MatchString(name) {
			continue
		}
		mend := "no setting has this name; `gateway config` prints all"
		if near != "" {
			mend = "did you mean " + near + "?"
		}
		warnings = append(warnings, name+" is set and unknown: "+mend)
	}
	slices.Sort(warnings)
	return warnings
}

// nearestEnv returns the variable of the setting whose name is most like that of a variable, or nothing.
func nearestEnv(name string) string {
	setting, ok := strings.CutPrefix(name, "PENSTOCK_")
	if !ok {
		return ""
	}
	return environment()[closest(setting)]
}
