// Counters of the C memory that the media bindings hold.
#ifndef PENSTOCK_CMEM_H
#define PENSTOCK_CMEM_H

#include <stdint.h>

typedef struct {
	int64_t objects;
	int64_t bytes;
} cmem_counter;

enum { CMEM_KINDS = 8 };

extern cmem_counter penstock_cmem[CMEM_KINDS];

#endif
