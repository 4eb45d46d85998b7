"""Generated limits, times and observations."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from llmwatch.watch.states import Seen
from tests.watch.walking import RUNNING_LIMITS

# Halves add up without rounding, and small numbers meet often: ties are what these tests are after.
seconds = st.integers(1, 12).map(lambda n: n / 2)
steps = st.sampled_from([0.0, 0.0, 0.5, 0.5, 1.0, 1.5, 2.0, 3.5, 5.0])
limits = st.fixed_dictionaries(
    {limit: st.none() | seconds for limit in (*RUNNING_LIMITS, "finish", "drain")}
    | {"total": st.none() | st.none() | seconds}
)
deadlines = st.none() | st.none() | st.integers(1, 60).map(lambda n: n / 2)
observations = st.sampled_from([what for what in Seen if what is not Seen.TERMINAL])


# A busy machine must not fail them.
law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
plain_law = settings(law, max_examples=100)
"""For what the machine's whole life next to its naive account shows as well."""
