package config

import (
	"reflect"
	"slices"
	"strings"
)

// Setting is one setting as flags and the file name it.
type Setting struct {
	Name   string // of the flag and the key in the file
	Env    string // of the environment variable
	Help   string
	Range  string // "least..most" of a number or duration; empty where there is none, or another rule
	Secret bool

	index []int // of the field in Config
}

// Settings lists all settings in the order of Config.
func Settings() []Setting {
	var all []Setting
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if f.Anonymous {
			continue
		}
		all = append(all, Setting{
			Name:   f.Tag.Get("name"),
			Env:    f.Tag.Get("env"),
			Help:   f.Tag.Get("help"),
			Range:  f.Tag.Get("range"),
			Secret: f.Type == reflect.TypeFor[Secret](),
			index:  f.Index,
		})
	}
	return all
}

// environment maps the names of settings, and of the flag that names the file, to those of environment variables.
func environment() map[string]string {
	env := map[string]string{fileFlag: "PENSTOCK_CONFIG"}
	for _, s := range Settings() {
		env[s.Name] = s.Env
	}
	return env
}

// closest returns the setting whose name is most like the one given, or nothing when none is near.
func closest(name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	best, distance := "", 4
	for _, s := range Settings() {
		if d := editDistance(name, s.Name); d < distance {
			best, distance = s.Name, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and substitutions that lead from a to b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + slices.Min([]int{diagonal, row[j], row[j+1]})
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
