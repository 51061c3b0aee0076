package demo

import (
	"os"
	"testing"

	"github.com/penstock-media/penstock/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
