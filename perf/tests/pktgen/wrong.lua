-- SPDX-License-Identifier: MIT OR Apache-2.0
-- Calls what pktgen does not have: a test of the stand-in.
pktgen.range.src_mask("0", "start", "255.255.255.0")
