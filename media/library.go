package media

import "github.com/penstock-media/penstock/media/internal/avcodec"

// Decoders tells which library decodes video, and under which licence it was built: with GPL parts, as Linux distributions
// build it, or without. It is what runs, which need not be what the program was compiled against.
func Decoders() string {
	version, licence := avcodec.Library()
	return "libavcodec " + version + ", " + licence
}
