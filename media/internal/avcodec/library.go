package avcodec

// #include <libavcodec/avcodec.h>
import "C"

import "fmt"

// Library tells which libavcodec is linked: its version, as "59.37.100", and the licence under which it was built.
func Library() (version, licence string) {
	v := uint(C.avcodec_version())
	return fmt.Sprintf("%d.%d.%d", v>>16, v>>8&0xff, v&0xff), C.GoString(C.avcodec_license())
}
