#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| podway_fuzz::requests(data));
