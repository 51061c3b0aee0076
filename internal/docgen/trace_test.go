package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestO1_PictureOfATraceIsCurrent: the picture is what Jaeger's answer gives, it is well-formed, and has a line for each span.
func TestO1_PictureOfATraceIsCurrent(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, traceSource))
	if err != nil {
		t.Fatal(err)
	}
	want, err := drawTrace(text)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, traceTarget))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not drawn from %s: run make generate", traceTarget, traceSource)
	}
	lines := 0
	for d := xml.NewDecoder(bytes.NewReader(got)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok && strings.Contains(string(data), ".") && !strings.HasSuffix(string(data), "ms") {
			lines++
		}
	}
	if lines != 11 {
		t.Errorf("the picture has %d spans, want 11", lines)
	}
}

// TestDrawTraceRefuses what is no one tree.
func TestDrawTraceRefuses(t *testing.T) {
	for _, text := range []string{"", "[]", `[{"spanID":"a","parentSpanID":"b"},{"spanID":"b","parentSpanID":"a"}]`} {
		if _, err := drawTrace([]byte(text)); err == nil {
			t.Errorf("%q is drawn", text)
		}
	}
}
