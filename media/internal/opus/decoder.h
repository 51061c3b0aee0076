// libopus decoding in few calls.
#ifndef PENSTOCK_OPUS_DECODER_H
#define PENSTOCK_OPUS_DECODER_H

#include <opus/opus.h>

// opx_has_fec tells whether a packet carries in-band FEC for the packet before it; negative is an OPUS_ error.
int opx_has_fec(const unsigned char *packet, opus_int32 size);

#endif
