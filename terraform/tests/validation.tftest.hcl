# Each rule of a variable refuses something. Every run gives one value that is
# wrong, and expects that variable to say so and no other.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  encryption_key = "bW9ja2VkLW1vY2tlZC1tb2NrZWQtbW9ja2VkLW1vY2s="
  create_client  = true
  relay_cidrs    = ["10.20.0.25/32"]
}

run "region_china" {
  command = plan
  variables {
    region = "cn-north-1"
  }
  expect_failures = [var.region]
}

run "name_too_long" {
  command = plan
  variables {
    name = "a-name-that-is-much-too-long"
  }
  expect_failures = [var.name]
}

run "name_upper_case" {
  command = plan
  variables {
    name = "Postern"
  }
  expect_failures = [var.name]
}

run "name_internal" {
  command = plan
  variables {
    name = "internal-mail"
  }
  expect_failures = [var.name]
}

run "tags_of_aws" {
  command = plan
  variables {
    tags = { "aws:owner" = "me" }
  }
  expect_failures = [var.tags]
}

run "permissions_boundary_arn_a_name" {
  command = plan
  variables {
    permissions_boundary_arn = "agency-boundary"
  }
  expect_failures = [var.permissions_boundary_arn]
}

run "aws_max_retries_negative" {
  command = plan
  variables {
    aws_max_retries = -1
  }
  expect_failures = [var.aws_max_retries]
}

run "vpc_cidr_too_wide" {
  command = plan
  variables {
    vpc_cidr = "10.0.0.0/8"
  }
  expect_failures = [var.vpc_cidr]
}

run "vpc_cidr_no_network" {
  command = plan
  variables {
    vpc_cidr = "10.0.0.0"
  }
  expect_failures = [var.vpc_cidr]
}

run "private_subnet_cidrs_one" {
  command = plan
  variables {
    private_subnet_cidrs = ["10.0.1.0/24"]
  }
  expect_failures = [var.private_subnet_cidrs]
}

run "public_subnet_cidr_no_network" {
  command = plan
  variables {
    public_subnet_cidr = "public"
  }
  expect_failures = [var.public_subnet_cidr]
}

run "nat_subnet_cidrs_no_network" {
  command = plan
  variables {
    nat_subnet_cidrs = ["nat"]
  }
  expect_failures = [var.nat_subnet_cidrs]
}

run "availability_zones_too_few" {
  command = plan
  variables {
    availability_zones = ["us-gov-west-1a"]
  }
  expect_failures = [var.availability_zones]
}

run "egress_mode_unknown" {
  command = plan
  variables {
    egress_mode = "internet"
  }
  expect_failures = [var.egress_mode]
}

run "nat_gateways_three_for_two" {
  command = plan
  variables {
    nat_gateways = 3
  }
  expect_failures = [var.nat_gateways]
}

run "relay_cidrs_a_host" {
  command = plan
  variables {
    relay_cidrs = ["smtp.gmail.com"]
  }
  expect_failures = [var.relay_cidrs]
}

run "relay_cidrs_none_at_all" {
  command = plan
  variables {
    relay_cidrs = []
  }
  expect_failures = [var.relay_cidrs]
}

run "relay_cidrs_with_ses" {
  command = plan
  variables {
    relay_cidrs = ["10.20.0.25/32"]
    egress_mode = "ses"
  }
  expect_failures = [var.relay_cidrs]
}

run "relay_cidrs_everything" {
  command = plan
  variables {
    relay_cidrs = ["0.0.0.0/0"]
    egress_mode = "nat"
  }
  expect_failures = [var.relay_cidrs]
}

run "relay_cidrs_everything_without_nat" {
  command = plan
  variables {
    relay_cidrs     = ["0.0.0.0/0"]
    allow_any_relay = true
  }
  expect_failures = [var.relay_cidrs]
}

run "relay_cidrs_everything_in_halves" {
  command = plan
  variables {
    relay_cidrs     = ["0.0.0.0/1", "128.0.0.0/1"]
    egress_mode     = "nat"
    allow_any_relay = true
  }
  expect_failures = [var.relay_cidrs]
}

run "relays_unknown" {
  command = plan
  variables {
    relays = "all"
  }
  expect_failures = [var.relays]
}

run "relays_listed_and_none_there" {
  command = plan
  variables {
    egress_mode     = "nat"
    relay_cidrs     = ["0.0.0.0/0"]
    allow_any_relay = true
  }
  expect_failures = [var.relays]
}

run "relays_default_without_one" {
  command = plan
  variables {
    relays = "default"
  }
  expect_failures = [var.relays]
}

run "relay_ports_twenty_five" {
  command = plan
  variables {
    relay_ports = [25, 587]
  }
  expect_failures = [var.relay_ports]
}

run "relay_ports_none" {
  command = plan
  variables {
    relay_ports = []
    smtp_port   = 587
  }
  expect_failures = [var.relay_ports]
}

run "relay_routes_to_everywhere" {
  command = plan
  variables {
    relay_routes = [{ cidr = "0.0.0.0/0", transit_gateway_id = "tgw-1" }]
  }
  expect_failures = [var.relay_routes]
}

run "relay_routes_by_nothing" {
  command = plan
  variables {
    relay_routes = [{ cidr = "10.20.0.0/16" }]
  }
  expect_failures = [var.relay_routes]
}

run "smtp_server_with_port" {
  command = plan
  variables {
    smtp_server = "relay.agency.example:587"
  }
  expect_failures = [var.smtp_server]
}

run "smtp_port_not_a_relay_port" {
  command = plan
  variables {
    smtp_port = 2525
  }
  expect_failures = [var.smtp_port]
}

run "relay_ca_pem_a_path" {
  command = plan
  variables {
    relay_ca_pem = "/etc/ssl/agency-ca.pem"
  }
  expect_failures = [var.relay_ca_pem]
}

run "relay_ca_pem_with_its_key" {
  command = plan
  variables {
    relay_ca_pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
  }
  expect_failures = [var.relay_ca_pem]
}

run "smtp_username_without_server" {
  command = plan
  variables {
    smtp_username = "postern"
  }
  expect_failures = [var.smtp_username]
}

run "smtp_password_empty" {
  command = plan
  variables {
    smtp_password = ""
  }
  expect_failures = [var.smtp_password]
}

run "smtp_password_version_nought" {
  command = plan
  variables {
    smtp_password_version = 0
  }
  expect_failures = [var.smtp_password_version]
}

run "stage_name_with_a_slash" {
  command = plan
  variables {
    stage_name = "v1/prod"
  }
  expect_failures = [var.stage_name]
}

run "api_authorization_unknown" {
  command = plan
  variables {
    api_authorization = "COGNITO"
  }
  expect_failures = [var.api_authorization]
}

run "api_caller_arns_without_iam" {
  command = plan
  variables {
    api_caller_arns = ["arn:aws-us-gov:iam::123456789012:role/sender"]
  }
  expect_failures = [var.api_caller_arns]
}

run "api_caller_arns_anybody" {
  command = plan
  variables {
    api_caller_arns   = ["*"]
    api_authorization = "AWS_IAM"
  }
  expect_failures = [var.api_caller_arns]
}

run "api_client_cidrs_everything" {
  command = plan
  variables {
    api_client_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.api_client_cidrs]
}

run "additional_vpc_endpoint_ids_a_vpc" {
  command = plan
  variables {
    additional_vpc_endpoint_ids = ["vpc-0123456789abcdef0"]
  }
  expect_failures = [var.additional_vpc_endpoint_ids]
}

run "api_throttling_nought" {
  command = plan
  variables {
    api_throttling = { rate = 0, burst = 10 }
  }
  expect_failures = [var.api_throttling]
}

run "auth_none" {
  command = plan
  variables {
    auth = "none"
  }
  expect_failures = [var.auth]
}

run "load_balancer_certificate_without_tls" {
  command = plan
  variables {
    task_tls                  = false
    load_balancer_certificate = { arn = "arn:aws-us-gov:acm:us-gov-west-1:123456789012:certificate/c", domain = "postern.agency.example" }
  }
  expect_failures = [var.load_balancer_certificate]
}

run "load_balancer_certificate_of_no_arn" {
  command = plan
  variables {
    load_balancer_certificate = { arn = "certificate/c", domain = "postern.agency.example" }
  }
  expect_failures = [var.load_balancer_certificate]
}

run "image_tag_latest" {
  command = plan
  variables {
    image_tag = "latest"
  }
  expect_failures = [var.image_tag]
}

run "cpu_architecture_as_docker_says" {
  command = plan
  variables {
    cpu_architecture = "arm64"
  }
  expect_failures = [var.cpu_architecture]
}

run "task_cpu_odd" {
  command = plan
  variables {
    task_cpu = 500
  }
  expect_failures = [var.task_cpu]
}

run "task_memory_too_little_for_cpu" {
  command = plan
  variables {
    task_memory = 1024
    task_cpu    = 2048
  }
  expect_failures = [var.task_memory]
}

run "min_tasks_none" {
  command = plan
  variables {
    min_tasks = 0
  }
  expect_failures = [var.min_tasks]
}

run "max_tasks_below_min" {
  command = plan
  variables {
    max_tasks = 1
  }
  expect_failures = [var.max_tasks]
}

run "cpu_target_everything" {
  command = plan
  variables {
    cpu_target = 100
  }
  expect_failures = [var.cpu_target]
}

run "backlog_target_nought" {
  command = plan
  variables {
    backlog_target = 0
  }
  expect_failures = [var.backlog_target]
}

run "stop_timeout_beyond_fargate" {
  command = plan
  variables {
    stop_timeout = 300
  }
  expect_failures = [var.stop_timeout]
}

run "encryption_key_too_short" {
  command = plan
  variables {
    encryption_key = "c2hvcnQ="
  }
  expect_failures = [var.encryption_key]
}

run "table_prefix_with_a_slash" {
  command = plan
  variables {
    table_prefix = "test/"
  }
  expect_failures = [var.table_prefix]
}

run "settings_in_clear" {
  command = plan
  variables {
    settings = { SMTP_USE_TLS = "false" }
  }
  expect_failures = [var.settings]
}

run "settings_past_its_variable" {
  command = plan
  variables {
    settings = { AUTH = "none" }
  }
  expect_failures = [var.settings]
}

run "extra_secrets_a_value" {
  command = plan
  variables {
    extra_secrets = { TOKENS = "secret" }
  }
  expect_failures = [var.extra_secrets]
}

run "extra_secrets_the_key" {
  command = plan
  variables {
    extra_secrets = { ENCRYPTION_KEY = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:k-AbCdEf" }
  }
  expect_failures = [var.extra_secrets]
}

run "log_retention_days_not_of_cloudwatch" {
  command = plan
  variables {
    log_retention_days = 100
  }
  expect_failures = [var.log_retention_days]
}

run "alarm_emails_no_address" {
  command = plan
  variables {
    alarm_emails = ["operations"]
  }
  expect_failures = [var.alarm_emails]
}

run "metrics_client_cidrs_too_wide" {
  command = plan
  variables {
    metrics_client_cidrs = ["10.0.0.0/8"]
  }
  expect_failures = [var.metrics_client_cidrs]
}

run "client_instance_type_a_word" {
  command = plan
  variables {
    client_instance_type = "small"
  }
  expect_failures = [var.client_instance_type]
}

run "client_architecture_as_fargate_says" {
  command = plan
  variables {
    client_architecture = "X86_64"
  }
  expect_failures = [var.client_architecture]
}

run "client_ami_id_a_name" {
  command = plan
  variables {
    client_ami_id = "al2023"
  }
  expect_failures = [var.client_ami_id]
}

run "client_ssh_cidrs_everything" {
  command = plan
  variables {
    client_ssh_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.client_ssh_cidrs]
}

run "client_key_name_without_client" {
  command = plan
  variables {
    client_key_name  = "mine"
    create_client    = false
    api_client_cidrs = ["10.30.0.0/16"]
  }
  expect_failures = [var.client_key_name]
}

run "nobody_can_call" {
  command = plan
  variables {
    create_client = false
  }
  expect_failures = [check.somebody_can_call]
}
