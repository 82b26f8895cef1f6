# Amazon SES by its private SMTP endpoint: mail without the internet. User name
# and password are SMTP credentials of SES, made outside of Terraform so that
# they are in no state.
region      = "us-gov-west-1"
egress_mode = "ses"

smtp_username = "AKIAIOSFODNN7EXAMPLE"
relay_ports   = [587]
# SES's rate for the account, less a margin.
settings = { RELAY_RATE = "13" }

create_client = true
