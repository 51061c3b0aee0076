package rtcpool

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/penstock-media/penstock/internal/leak"
)

// TestMain lets more tests run beside each other than there are processors, unless told how many: media come in real time, and
// most tests wait for them.
func TestMain(m *testing.M) {
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		if err := flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+1)); err != nil {
			os.Exit(2)
		}
	}
	os.Exit(leak.Run(m))
}
