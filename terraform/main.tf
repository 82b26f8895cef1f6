# Postern on AWS: a private API in front of tasks in private subnets, tables
# behind them, and one way for mail to leave. README.md says how to get there
# from an empty account.

locals {
  nat = var.egress_mode == "nat"
  ses = var.egress_mode == "ses"

  # In the partitions that there are, SES's name is the endpoint's private one.
  ses_server  = "email-smtp.${var.region}.amazonaws.com"
  smtp_server = local.ses && var.smtp_server == "" ? local.ses_server : var.smtp_server

  # The service refuses relays at private addresses unless they are allowed. A
  # network of everything would allow them all, so it is not passed on.
  relay_allow = local.ses ? [local.smtp_server] : [for cidr in var.relay_cidrs : cidr if cidr != "0.0.0.0/0"]

  recovery_days = var.deletion_protection ? 30 : 0
}

module "key" {
  source = "./modules/key"

  name                    = var.name
  deletion_window_in_days = var.deletion_protection ? 30 : 7
}

module "network" {
  source = "./modules/network"

  name                     = var.name
  vpc_cidr                 = var.vpc_cidr
  private_subnet_cidrs     = var.private_subnet_cidrs
  public_subnet            = var.create_client
  public_subnet_cidr       = var.public_subnet_cidr
  nat_gateways             = local.nat ? var.nat_gateways : 0
  nat_subnet_cidrs         = var.nat_subnet_cidrs
  availability_zones       = var.availability_zones
  relay_routes             = var.relay_routes
  log_retention_days       = var.log_retention_days
  kms_key_arn              = module.key.arn
  permissions_boundary_arn = var.permissions_boundary_arn
}

module "data" {
  source = "./modules/data"

  table_prefix        = var.table_prefix
  kms_key_arn         = module.key.arn
  deletion_protection = var.deletion_protection
}

module "endpoints" {
  source = "./modules/endpoints"

  name                     = var.name
  vpc_id                   = module.network.vpc_id
  private_subnet_ids       = module.network.private_subnet_ids
  private_route_table_ids  = module.network.private_route_table_ids
  task_security_group_id   = module.service.security_group_id
  task_role_arn            = module.service.task_role_arn
  execution_role_arn       = module.service.execution_role_arn
  table_statements         = module.data.statements
  repository_arn           = module.service.repository_arn
  task_log_group_arn       = module.service.log_group_arn
  secret_arns              = module.service.secret_arns
  task_secret_arns         = module.service.task_secret_arns
  api_execution_arn        = module.api.execution_arn
  api_private_dns          = var.api_private_dns
  api_client_cidrs         = var.api_client_cidrs
  client                   = var.create_client
  client_security_group_id = one(module.client[*].security_group_id)
  ses                      = local.ses
  relay_ports              = var.relay_ports
}

module "service" {
  source = "./modules/service"

  name                       = var.name
  vpc_id                     = module.network.vpc_id
  private_subnet_ids         = module.network.private_subnet_ids
  image_tag                  = var.image_tag
  cpu_architecture           = var.cpu_architecture
  cpu                        = var.task_cpu
  memory                     = var.task_memory
  min_tasks                  = var.min_tasks
  max_tasks                  = var.max_tasks
  cpu_target                 = var.cpu_target
  backlog_target             = var.backlog_target
  stop_timeout               = var.stop_timeout
  auth                       = var.auth
  task_tls                   = var.task_tls
  certificate_arn            = try(var.load_balancer_certificate.arn, null)
  vpc_endpoint_ids           = local.caller_endpoints
  table_prefix               = var.table_prefix
  table_statements           = module.data.statements
  encryption_key             = var.encryption_key
  smtp_server                = local.smtp_server
  smtp_port                  = var.smtp_port
  smtp_username              = var.smtp_username
  smtp_password              = var.smtp_password
  smtp_password_version      = var.smtp_password_version
  relay_cidrs                = local.ses ? [] : var.relay_cidrs
  relay_ports                = var.relay_ports
  relays                     = var.relays
  relay_allow                = local.relay_allow
  relay_ca_pem               = var.relay_ca_pem
  ses                        = local.ses
  smtp_security_group_id     = module.endpoints.smtp_security_group_id
  endpoint_security_group_id = module.endpoints.task_security_group_id
  metrics_client_cidrs       = var.metrics_client_cidrs
  settings                   = var.settings
  extra_secrets              = var.extra_secrets
  kms_key_arn                = module.key.arn
  log_retention_days         = var.log_retention_days
  recovery_window_in_days    = local.recovery_days
  deletion_protection        = var.deletion_protection
  permissions_boundary_arn   = var.permissions_boundary_arn
}

locals {
  caller_endpoints = concat([module.endpoints.api_endpoint_id], var.additional_vpc_endpoint_ids)
}

module "api" {
  source = "./modules/api"

  name                     = var.name
  stage_name               = var.stage_name
  vpc_endpoint_ids         = local.caller_endpoints
  authorization            = var.api_authorization
  caller_arns              = var.api_caller_arns
  load_balancer_arn        = module.service.load_balancer_arn
  load_balancer_dns_name   = module.service.load_balancer_dns_name
  port                     = module.service.listener_port
  task_tls                 = var.task_tls
  certificate_domain       = try(var.load_balancer_certificate.domain, null)
  throttling_rate          = var.api_throttling.rate
  throttling_burst         = var.api_throttling.burst
  manage_account           = var.manage_api_gateway_account
  kms_key_arn              = module.key.arn
  log_retention_days       = var.log_retention_days
  permissions_boundary_arn = var.permissions_boundary_arn
}

module "observability" {
  source = "./modules/observability"

  name                   = var.name
  region                 = var.region
  vpc_id                 = module.network.vpc_id
  service_log_group_name = module.service.log_group_name
  access_log_group_name  = module.api.access_log_group_name
  flow_log_group_name    = module.network.flow_log_group_name
  relay_ports            = var.relay_ports
  load_balancer_suffix   = module.service.load_balancer_suffix
  target_group_suffix    = module.service.target_group_suffix
  cluster_name           = module.service.cluster_name
  service_name           = module.service.service_name
  min_tasks              = var.image_tag == "" ? 0 : var.min_tasks
  api_name               = module.api.name
  stage_name             = module.api.stage_name
  table_names            = module.data.table_names
  table_indexes          = module.data.table_indexes
  alarm_emails           = var.alarm_emails
  kms_key_arn            = module.key.arn
}

module "client" {
  source = "./modules/client"
  count  = var.create_client ? 1 : 0

  name                     = var.name
  vpc_id                   = module.network.vpc_id
  subnet_id                = module.network.public_subnet_id
  instance_type            = var.client_instance_type
  architecture             = var.client_architecture
  ami_id                   = var.client_ami_id
  key_name                 = var.client_key_name
  ssh_cidrs                = var.client_ssh_cidrs
  api_execution_arn        = module.api.execution_arn
  kms_key_arn              = module.key.arn
  permissions_boundary_arn = var.permissions_boundary_arn
}

check "somebody_can_call" {
  assert {
    condition     = var.create_client || length(var.api_client_cidrs) > 0
    error_message = "Nobody can reach the API: set create_client, or name the callers' networks in api_client_cidrs."
  }
}
