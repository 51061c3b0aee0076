package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

const root = "../.."

func TestErrorsPageIsCurrent(t *testing.T) {
	proto, err := os.ReadFile(filepath.Join(root, source))
	if err != nil {
		t.Fatal(err)
	}
	want, err := render(proto)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, target))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the enum says: run make generate", target)
	}
}

func TestO11_PageNamesEveryReasonOfTheGeneratedCode(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, target))
	if err != nil {
		t.Fatal(err)
	}
	for number, name := range penstockv1.ErrorReason_name {
		row := "| `" + strings.TrimPrefix(name, prefix) + "` |"
		if number != 0 && !bytes.Contains(page, []byte(row)) {
			t.Errorf("%s has no row for %s", target, name)
		}
	}
}

func TestParseRefusesACommentWithoutStatus(t *testing.T) {
	_, err := render([]byte("enum E {\n  // Something went wrong.\n  ERROR_REASON_ODD = 1;\n}\n"))
	if err == nil || !strings.Contains(err.Error(), "ODD") {
		t.Errorf("got %v, want an error that names the value", err)
	}
}

func TestParseRefusesAnEnumWithoutReasons(t *testing.T) {
	if _, err := render([]byte("enum E {}\n")); err == nil {
		t.Error("no error")
	}
}

func TestRenderEscapesTheTable(t *testing.T) {
	page, err := render([]byte("  // INTERNAL. This | that.\n  // And more.\n  ERROR_REASON_X = 1;\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "| `X` | `INTERNAL` | This \\| that. And more. |\n"; !bytes.Contains(page, []byte(want)) {
		t.Errorf("no row %q in\n%s", want, page)
	}
}
