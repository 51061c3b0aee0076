package config

import "strings"

// Error is a fault of the configuration. Its text names the setting, says what is wrong with it, and how to mend it.
type Error struct {
	Setting string // the flag's name without dashes, or the file
	Problem string // what is wrong
	Mend    string // what to do
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	if env, ok := environment()[e.Setting]; ok {
		b.WriteString("--" + e.Setting + " (" + env + ")")
	} else {
		b.WriteString(e.Setting)
	}
	return b.String() + ": " + e.Problem + "; " + e.Mend
}
