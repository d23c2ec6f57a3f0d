package envoy

// Tested is the version that all tests are run with.
const Tested = "1.40.0"
