#include "decoder.h"

#include <stddef.h>

int opx_has_fec(const unsigned char *packet, opus_int32 size)
{
	const unsigned char *frames[48];
	opus_int16 sizes[48];
	int n = opus_packet_parse(packet, size, NULL, frames, sizes, NULL);
	if (n < 0)
		return n;
	if (n == 0 || sizes[0] < 1 || (packet[0] & 0x80)) // TOC configurations 16 to 31 are CELT only
		return 0;
	// A SILK layer begins, for each channel, with a voice flag for each 20 ms and one flag for LBRR (RFC 6716
	// section 4.2.3). All have even odds, so the range coder leaves them as the first byte's plain bits.
	int samples = opus_packet_get_samples_per_frame(packet, 48000);
	int voice = samples > 960 ? samples / 960 : 1;
	int first = frames[0][0];
	if (first >> (7 - voice) & 1)
		return 1;
	return opus_packet_get_nb_channels(packet) == 2 && (first >> (6 - 2 * voice) & 1);
}
