"""Production: one trace in ten, exported in batches from a thread of its own."""

from obs_core import TracingConfig, setup_tracing, trace_function

config = TracingConfig(
    service_name="my-service", environment="production", sampling_rate=0.1
)
tracer_manager, middleware_config = setup_tracing(config)


@trace_function
def work() -> None:
    pass


if __name__ == "__main__":
    for _ in range(1000):
        work()
    tracer_manager.flush()
    print(tracer_manager.stats())
