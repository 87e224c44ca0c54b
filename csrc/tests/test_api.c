/* The table of hot calls: complete, and its entries are the functions of their names. */
#include "test.h"

#include "shm_echo/api.h"

CASE(the_table_has_its_version_and_its_size) {
    const she_api *api = she_api_table();
    CHECK_EQ(api->version, SHE_API_VERSION);
    CHECK_EQ(api->bytes, sizeof(she_api));
}

CASE(the_table_has_no_gap) {
    const she_api *api = she_api_table();
    const uint8_t *at = (const uint8_t *)api + offsetof(she_api, producer_open);
    CHECK_EQ((sizeof *api - offsetof(she_api, producer_open)) % sizeof(void *), 0);
    for (; at < (const uint8_t *)api + sizeof *api; at += sizeof(void *)) {
        void *entry;
        memcpy(&entry, at, sizeof entry);
        if (!entry)
            FAIL("the entry at byte %td is missing", at - (const uint8_t *)api);
    }
}

/* A mix-up of two entries of one type would compile. */
CASE(entries_of_one_type_are_not_swapped) {
    const she_api *api = she_api_table();
    CHECK(api->producer_free == she_producer_free && api->producer_stop == she_producer_stop);
    CHECK(api->commit == she_commit && api->abort == she_abort);
    CHECK(api->release == she_release && api->poison == she_poison);
    CHECK(api->heartbeat == she_heartbeat && api->copied == she_copied);
    CHECK(api->now_ns == she_now_ns && api->now_coarse_ns == she_now_coarse_ns);
    CHECK(api->drain_wait == she_drain_wait && api->wait_end == she_wait_end);
    CHECK(api->drain_begin == she_drain_begin && api->drain_end == she_drain_end);
}
