"""What every gRPC server and client of Twostage shares: lifecycle, channels, errors, telemetry, settings."""
