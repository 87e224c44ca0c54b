/* The ingress' parser of streams under libFuzzer: `make fuzz`. */
#include "fuzz_ingress.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fuzz_one(bytes, size);
    return 0;
}
