package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Options returns what the parser needs so that flags, environment and file are read alike: the file's resolver,
// messages that say how to mend a value, and help that names defaults.
func Options() []kong.Option {
	file := NewResolver()
	return []kong.Option{
		kong.Resolvers(file), kong.Bind(file),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), mapper(parseDuration)),
		kong.KindMapper(reflect.Int, mapper(parseInt)),
		kong.KindMapper(reflect.Uint16, mapper(parseUint)),
		kong.KindMapper(reflect.Uint32, mapper(parseUint)),
		kong.ValueFormatter(formatHelp),
	}
}

// formatHelp is kong's help with the default value.
func formatHelp(value *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(value)
	if least, most, ok := strings.Cut(value.Tag.Get("range"), ".."); ok {
		help += " " + least + " to " + most + "."
	}
	if value.Default == "" {
		return help
	}
	return help + " Default: " + value.Default + "."
}

// mapper makes a kong.Mapper of a parser.
func mapper(parse func(text string, target reflect.Value) error) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		token := ctx.Scan.Pop()
		return parse(fmt.Sprint(token.Value), target)
	}
}

func parseDuration(text string, target reflect.Value) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration; write one like 10s or 1m30s", text)
	}
	target.SetInt(int64(d))
	return nil
}

func parseInt(text string, target reflect.Value) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a whole number; write digits only, like 1000", text)
	}
	target.SetInt(n)
	return nil
}

func parseUint(text string, target reflect.Value) error {
	n, err := strconv.ParseUint(text, 10, target.Type().Bits())
	if err != nil {
		return fmt.Errorf("%q is not a whole number from 0 to %d; write digits only", text, uint64(1)<<target.Type().Bits()-1)
	}
	target.SetUint(n)
	return nil
}
