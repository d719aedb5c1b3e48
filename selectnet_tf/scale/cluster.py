"""The Ray cluster that a process works on."""

import ray


def connect(address: str) -> None:
    """Connects to a cluster: auto, or its address. Raises ConnectionError, with the cure, where there is none."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConnectionError(f"no Ray cluster at {address} ({str(error).splitlines()[0]}): ray start --head") from None
