# The seed's network: the API, the tasks, and a client to call it from. Mail
# goes to a relay with an address that this VPC reaches: here a mail server
# in the peered network 10.20.0.0/24.
create_client = true

egress_mode = "none"
smtp_server = "relay.agency.example"
relay_cidrs = ["10.20.0.25/32"]

alarm_emails = ["operations@agency.example"]
