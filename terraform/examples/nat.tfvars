# Gmail as the relay, which is on the internet: it needs NAT, whatever else you
# have read. Google's addresses change, so every address may be reached on 587.
region       = "us-east-1"
egress_mode  = "nat"
nat_gateways = 2

smtp_server     = "smtp.gmail.com"
smtp_username   = "notices@agency.example"
relay_ports     = [587]
relay_cidrs     = ["0.0.0.0/0"]
allow_any_relay = true
# Workspace allows an account 2,000 messages a day.
settings = { RELAY_DAILY_LIMIT = "1900", RELAY_MAX_CONNECTIONS = "5" }

create_client = true
