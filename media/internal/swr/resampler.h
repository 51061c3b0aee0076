// libswresample for interleaved s16.
#ifndef PENSTOCK_SWR_RESAMPLER_H
#define PENSTOCK_SWR_RESAMPLER_H

#include <libswresample/swresample.h>
#include <stdint.h>

int rsm_open(SwrContext **out, int in_rate, int in_channels, int out_rate, int out_channels);
// rsm_convert returns the samples (per channel) written, or an error. in NULL flushes.
int rsm_convert(SwrContext *s, const int16_t *in, int in_samples, int16_t *out, int out_max);
void rsm_close(SwrContext *s);

#endif
