#include "cmem.h"

cmem_counter penstock_cmem[CMEM_KINDS];
