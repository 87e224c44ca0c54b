/* The hook of fault.h. It has a file of its own because both the ring and its event counts call
 * it. */
#include "shm_echo/fault.h"

#ifdef SHE_FAULTS
void (*she_fault_hook)(int step);
#endif
