# How tasks run, what they may, who reaches them, and where their secrets are.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                       = "postern"
  vpc_id                     = "vpc-1"
  private_subnet_ids         = ["subnet-1", "subnet-2"]
  image_tag                  = "v1"
  cpu_architecture           = "ARM64"
  cpu                        = 512
  memory                     = 1024
  min_tasks                  = 2
  max_tasks                  = 6
  cpu_target                 = 60
  backlog_target             = null
  stop_timeout               = 120
  auth                       = "none-insecure"
  task_tls                   = true
  certificate_arn            = null
  vpc_endpoint_ids           = ["vpce-0123456789abcdef0"]
  table_prefix               = ""
  table_statements           = [{ Sid = "EmailWork", Effect = "Allow", Action = ["dynamodb:GetItem"], Resource = "arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/EmailWork" }]
  encryption_key             = "bW9ja2VkLW1vY2tlZC1tb2NrZWQtbW9ja2VkLW1vY2s="
  smtp_server                = "relay.agency.example"
  smtp_port                  = 587
  smtp_username              = "postern"
  smtp_password              = "canary-password"
  smtp_password_version      = 1
  relay_cidrs                = ["10.20.0.25/32"]
  relay_ports                = [587, 465]
  relays                     = "listed"
  relay_allow                = ["10.20.0.25/32"]
  relay_ca_pem               = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
  ses                        = false
  smtp_security_group_id     = null
  endpoint_security_group_id = "sg-endpoints"
  metrics_client_cidrs       = []
  settings                   = { RELAY_RATE = "14" }
  extra_secrets              = {}
  kms_key_arn                = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/k"
  log_retention_days         = 365
  recovery_window_in_days    = 30
  deletion_protection        = true
  permissions_boundary_arn   = null
}

# First: what was started once, autoscaling stops.
run "without_an_image" {
  module { source = "./modules/service" }
  variables {
    image_tag = ""
  }

  assert {
    condition     = aws_ecs_service.this.desired_count == 0 && aws_appautoscaling_target.this.min_capacity == 0 && aws_appautoscaling_target.this.max_capacity == 0
    error_message = "Tasks are started without an image."
  }

  assert {
    condition     = output.doctor == null
    error_message = "A task is offered that has no image."
  }
}

run "container" {
  module { source = "./modules/service" }

  assert {
    condition = alltrue([for c in jsondecode(aws_ecs_task_definition.this.container_definitions) :
      c.readonlyRootFilesystem && !c.privileged && c.user == "65532:65532" && c.linuxParameters.capabilities.drop == ["ALL"] && !can(c.linuxParameters.capabilities.add)
    ])
    error_message = "The container may write, is root or has capabilities."
  }

  assert {
    condition     = aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "ARM64" && aws_ecs_task_definition.this.network_mode == "awsvpc"
    error_message = "The task does not run as the image was built."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].stopTimeout == 120 && { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["SHUTDOWN_TIMEOUT"] == "110s"
    error_message = "The service has to be done before ECS kills it."
  }

  assert {
    condition     = { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["RELAY_CA"] == var.relay_ca_pem
    error_message = "The service does not get the relays' authorities as they are."
  }

  assert {
    condition     = { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["RELAYS"] == "listed" && { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["RELAY_REQUIRE_TLS"] == "true"
    error_message = "Campaigns may name any relay, or turn TLS off."
  }

  assert {
    condition     = { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["RELAY_RATE"] == "14"
    error_message = "A setting does not arrive."
  }
}

run "secrets" {
  module { source = "./modules/service" }

  assert {
    condition     = sort([for s in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].secrets : s.name]) == tolist(["ENCRYPTION_KEY"])
    error_message = "The key does not come from Secrets Manager."
  }

  # By reference, so that it can change while tasks run.
  assert {
    condition     = { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["SMTP_PASSWORD_REF"] == aws_secretsmanager_secret.smtp_password[0].arn
    error_message = "The service does not find the relay's password."
  }

  assert {
    condition = { for s in jsondecode(aws_iam_role_policy.task.policy).Statement : s.Sid => s.Resource if startswith(s.Sid, "Own") } == {
      OwnSecrets    = ["arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/smtp-password-??????"]
      OwnSecretsKey = [var.kms_key_arn]
    }
    error_message = "The service may read more secrets than the relay's password, or not that."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.execution.policy, "smtp-password")
    error_message = "The execution role may read what it hands to nobody."
  }

  assert {
    condition     = !strcontains(aws_ecs_task_definition.this.container_definitions, "canary-password") && !strcontains(aws_ecs_task_definition.this.container_definitions, "bW9ja2Vk")
    error_message = "A secret's value is in the task definition."
  }

  assert {
    condition = (
      aws_secretsmanager_secret_version.encryption_key.secret_string == null && aws_secretsmanager_secret_version.encryption_key.secret_string_wo == null &&
      aws_secretsmanager_secret_version.smtp_password[0].secret_string == null && aws_secretsmanager_secret_version.smtp_password[0].secret_string_wo == null
    )
    error_message = "A secret's value is in the state."
  }

  assert {
    condition     = aws_secretsmanager_secret.encryption_key.kms_key_id == var.kms_key_arn && aws_secretsmanager_secret.smtp_password[0].kms_key_id == var.kms_key_arn
    error_message = "A secret is not encrypted with our key."
  }
}

run "without_login" {
  module { source = "./modules/service" }
  variables {
    smtp_username = ""
  }

  assert {
    condition     = length(aws_secretsmanager_secret.smtp_password) == 0 && [for s in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].secrets : s.name] == ["ENCRYPTION_KEY"]
    error_message = "There is a password without a user name."
  }

  assert {
    condition     = length(output.task_secret_arns) == 0 && [for s in jsondecode(aws_iam_role_policy.task.policy).Statement : s.Sid] == ["EmailWork", "TablesKey"]
    error_message = "The service may more than use its tables and their key."
  }
}

run "without_tokens" {
  module { source = "./modules/service" }
  variables {
    auth = "vpce"
  }

  assert {
    condition     = length(aws_secretsmanager_secret.api_tokens) == 0 && !strcontains(join(",", output.task_secret_arns), "tokens") && { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["VPC_ENDPOINT_IDS"] == "vpce-0123456789abcdef0"
    error_message = "There is a list of tokens that nobody asks for, or no list of endpoints."
  }
}

run "tokens" {
  module { source = "./modules/service" }
  variables {
    auth = "vpce+token"
  }

  assert {
    condition     = { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["API_TOKENS_REF"] == aws_secretsmanager_secret.api_tokens[0].arn && aws_secretsmanager_secret.api_tokens[0].kms_key_id == var.kms_key_arn
    error_message = "The service does not find its tokens, or they are not encrypted with our key."
  }

  # Comments, so that the service starts, and nobody's token.
  assert {
    condition     = aws_secretsmanager_secret_version.api_tokens[0].secret_string == null && aws_secretsmanager_secret_version.api_tokens[0].secret_string_wo_version == 1
    error_message = "What operators put there would be in the state, or be overwritten."
  }

  assert {
    condition = { for s in jsondecode(aws_iam_role_policy.task.policy).Statement : s.Sid => s.Resource if startswith(s.Sid, "Own") } == {
      OwnSecrets    = ["arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/smtp-password-??????", "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/api-tokens-??????"]
      OwnSecretsKey = [var.kms_key_arn]
    }
    error_message = "The service may read more secrets than its tokens and the relay's password, or not those."
  }

  assert {
    condition     = alltrue([for s in jsondecode(aws_iam_role_policy.task.policy).Statement : !strcontains(jsonencode(s.Action), "kms:") || can(s.Condition.StringEquals["kms:ViaService"])])
    error_message = "The key may be used past the services that it is for."
  }
}

run "roles" {
  module { source = "./modules/service" }

  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.task.policy).Statement : s.Sid] == ["EmailWork", "TablesKey", "OwnSecrets", "OwnSecretsKey"]
    error_message = "The service may more than use its tables, its secrets and their key."
  }

  assert {
    condition = alltrue([for s in jsondecode(aws_iam_role_policy.task.policy).Statement :
      !strcontains(jsonencode(s.Action), "*") && !strcontains(jsonencode(s.Resource), "*")
    ])
    error_message = "The service's role has a pattern in it."
  }

  assert {
    condition = alltrue([for s in jsondecode(aws_iam_role_policy.execution.policy).Statement :
      !strcontains(jsonencode(s.Action), "*") && (s.Resource != "*" || s.Action == "ecr:GetAuthorizationToken")
    ])
    error_message = "The execution role is wider than it has to be."
  }

  assert {
    condition = alltrue([for s in concat(jsondecode(aws_iam_role_policy.task.policy).Statement, jsondecode(aws_iam_role_policy.execution.policy).Statement) :
      !strcontains(jsonencode(s.Action), "kms:") || can(s.Condition.StringEquals["kms:ViaService"])
    ])
    error_message = "The key may be used past the services that it is for."
  }
}

run "security_groups" {
  module { source = "./modules/service" }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.tasks_from_nlb.referenced_security_group_id == aws_security_group.nlb.id && aws_vpc_security_group_ingress_rule.tasks_from_nlb.from_port == 8080 && aws_vpc_security_group_ingress_rule.tasks_from_nlb.to_port == 8080
    error_message = "Others than the load balancer reach the API's port."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.metrics) == 0
    error_message = "Somebody reaches the metrics whom nobody named."
  }

  assert {
    condition     = alltrue([for r in aws_vpc_security_group_egress_rule.gateway : r.prefix_list_id != null && r.from_port == 443 && r.to_port == 443]) && aws_vpc_security_group_egress_rule.endpoints.referenced_security_group_id == "sg-endpoints"
    error_message = "443 leads beyond the endpoints."
  }

  assert {
    condition     = sort(keys(aws_vpc_security_group_egress_rule.relay)) == tolist(["10.20.0.25/32:465", "10.20.0.25/32:587"]) && alltrue([for r in aws_vpc_security_group_egress_rule.relay : r.from_port == r.to_port])
    error_message = "Mail leaves to others than the relays, or by other ports."
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.ses) == 0
    error_message = "Mail leaves to SES outside of mode ses."
  }
}

run "ses" {
  module { source = "./modules/service" }
  variables {
    ses                    = true
    smtp_security_group_id = "sg-smtp"
    relay_cidrs            = []
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.relay) == 0 && alltrue([for r in aws_vpc_security_group_egress_rule.ses : r.referenced_security_group_id == "sg-smtp"])
    error_message = "Mail leaves to others than SES's endpoint."
  }
}

run "doctor" {
  module { source = "./modules/service" }

  assert {
    condition     = output.doctor == "aws ecs run-task --region us-gov-west-1 --cluster postern --task-definition postern --launch-type FARGATE --network-configuration 'awsvpcConfiguration={subnets=[subnet-1,subnet-2],securityGroups=[${aws_security_group.tasks.id}],assignPublicIp=DISABLED}' --overrides '{\"containerOverrides\":[{\"command\":[\"doctor\"],\"name\":\"postern\"}]}'"
    error_message = "The doctor does not run where the tasks do."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].name == "postern" && aws_ecs_service.this.network_configuration[0].subnets == toset(var.private_subnet_ids)
    error_message = "The tasks' container or subnets are other ones than the doctor's."
  }
}

run "prometheus" {
  module { source = "./modules/service" }
  variables {
    metrics_client_cidrs = ["10.30.9.0/24"]
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.metrics["10.30.9.0/24"].from_port == 9090 && aws_vpc_security_group_ingress_rule.metrics["10.30.9.0/24"].to_port == 9090
    error_message = "Prometheus reaches another port than the metrics'."
  }

  assert {
    condition     = aws_service_discovery_service.metrics.dns_config[0].routing_policy == "MULTIVALUE" && aws_service_discovery_service.metrics.dns_config[0].dns_records[0].type == "A" && output.metrics_dns_name == "metrics.postern.internal:9090"
    error_message = "Prometheus does not find every task."
  }
}

run "service" {
  module { source = "./modules/service" }

  assert {
    condition     = !aws_ecs_service.this.network_configuration[0].assign_public_ip && aws_ecs_service.this.network_configuration[0].subnets == toset(["subnet-1", "subnet-2"])
    error_message = "A task has a public address, or is not in the private subnets."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback && !aws_ecs_service.this.enable_execute_command
    error_message = "A deployment that fails is not rolled back, or a task can be entered."
  }

  assert {
    condition     = aws_appautoscaling_target.this.min_capacity == 2 && aws_appautoscaling_target.this.max_capacity == 6 && length(aws_appautoscaling_policy.backlog) == 0
    error_message = "Autoscaling is not as asked."
  }

  assert {
    condition     = aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push && aws_ecr_repository.this.encryption_configuration[0].kms_key == var.kms_key_arn && !aws_ecr_repository.this.force_delete
    error_message = "Images can be replaced, are not scanned or not encrypted with our key."
  }

  assert {
    condition     = alltrue([for g in [aws_cloudwatch_log_group.service, aws_cloudwatch_log_group.insights] : g.kms_key_id == var.kms_key_arn && g.retention_in_days == 365])
    error_message = "A log group is not encrypted with our key, or not kept as asked."
  }
}

run "backlog" {
  module { source = "./modules/service" }
  variables {
    backlog_target = 5000
  }

  assert {
    condition     = aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration[0].target_value == 5000 && aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].namespace == var.name && local.environment.EMF_NAMESPACE == var.name
    error_message = "The service does not scale by its backlog."
  }
}

run "load_balancer" {
  module { source = "./modules/service" }

  assert {
    condition     = aws_lb.this.internal && aws_lb.this.load_balancer_type == "network" && length(aws_lb.this.security_groups) == 1 && aws_lb.this.enforce_security_group_inbound_rules_on_private_link_traffic == "off"
    error_message = "Others than the VPC link reach the load balancer."
  }

  assert {
    condition     = tonumber(aws_lb_target_group.this.deregistration_delay) == 60 && aws_lb_target_group.this.health_check[0].path == "/healthz" && aws_lb_target_group.this.health_check[0].protocol == "HTTPS"
    error_message = "The target group does not fit the drain, or asks the wrong thing."
  }
}

run "task_tls" {
  module { source = "./modules/service" }

  assert {
    condition     = aws_lb_target_group.this.protocol == "TCP" && aws_lb_listener.this.protocol == "TCP" && { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["LISTEN_TLS"] == "self-signed"
    error_message = "TLS does not reach from API Gateway to the task."
  }

  assert {
    condition     = { for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e.name => e.value }["TLS_NAMES"] == aws_lb.this.dns_name
    error_message = "The name that API Gateway calls is not in the task's certificate."
  }
}

run "task_without_tls" {
  module { source = "./modules/service" }
  variables {
    task_tls = false
  }

  assert {
    condition     = aws_lb_target_group.this.health_check[0].protocol == "HTTP" && length([for e in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : e if contains(["LISTEN_TLS", "TLS_NAMES"], e.name)]) == 0
    error_message = "TLS is not switched off as a whole."
  }
}

run "load_balancer_certificate" {
  module { source = "./modules/service" }
  variables {
    certificate_arn = "arn:aws-us-gov:acm:us-gov-west-1:123456789012:certificate/c"
  }

  assert {
    condition     = aws_lb_listener.this.protocol == "TLS" && aws_lb_listener.this.certificate_arn == var.certificate_arn && startswith(aws_lb_listener.this.ssl_policy, "ELBSecurityPolicy-TLS13-1-2-")
    error_message = "The load balancer does not present its certificate."
  }

  assert {
    condition     = aws_lb_target_group.this.protocol == "TLS" && aws_lb_target_group.this.name == "postern-tls" && aws_lb_target_group.this.health_check[0].protocol == "HTTPS"
    error_message = "From the load balancer to the task nothing is encrypted."
  }
}
