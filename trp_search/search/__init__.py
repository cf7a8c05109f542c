"""The only door to Ray and Optuna: a search space and a run folder -> a finished search.

Nothing is imported here: a worker needs `trainable` and not the driver, whose imports cost seconds.
"""

import os

# Ray reads some of these when it is imported, and hands all of them to the processes it starts.
_SETTINGS = {
    # Where other work holds a core, a thread would spin for the whole slice that another waits for
    # (a ResNet-20 on two threads of two busy cores: 0.8 steps a second, and 39 with this).
    "GOMP_SPINCOUNT": "10000",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # and with it a warning about the future
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's tables, which verbose=0 does not silence
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # news of dead workers, which log_to_driver=False lets by
    "RAY_USAGE_STATS_ENABLED": "0",
    # On a busy machine its processes take minutes to start; it allows them 30 to 100 seconds.
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_worker_niceness": "0",  # above the search's own; by default 15, behind all other work
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is the driver's: what ran stays resumable
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
