# A stack for production in GovCloud: no internet gateway anywhere, callers from
# the agency's networks by a transit gateway, signed requests, logs for seven
# years, a boundary on every role.
region      = "us-gov-west-1"
egress_mode = "none"
tags        = { Owner = "notices", DataClass = "CUI" }

permissions_boundary_arn = "arn:aws-us-gov:iam::123456789012:policy/agency-boundary"

smtp_server   = "relay.agency.example"
smtp_username = "postern"
relay_cidrs   = ["10.20.0.25/32", "10.21.0.25/32"]
relay_ports   = [587]
# relay_ca_pem = file("agency-ca.pem") goes on the command line or into a .tf
# file: terraform apply -var relay_ca_pem="$(cat agency-ca.pem)"
relay_routes = [
  { cidr = "10.20.0.0/15", transit_gateway_id = "tgw-0123456789abcdef0" },
  # The way back for the callers' answers.
  { cidr = "10.30.0.0/16", transit_gateway_id = "tgw-0123456789abcdef0" },
]

api_authorization = "AWS_IAM"
api_caller_arns   = ["arn:aws-us-gov:iam::123456789012:role/notices-sender"]
api_client_cidrs  = ["10.30.0.0/16"]

cpu_architecture   = "ARM64"
task_cpu           = 1024
task_memory        = 2048
max_tasks          = 10
log_retention_days = 2557

alarm_emails         = ["operations@agency.example"]
metrics_client_cidrs = ["10.30.9.0/24"]
