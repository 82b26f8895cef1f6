# A private API, through named VPC endpoints alone.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                     = "postern"
  stage_name               = "prod"
  vpc_endpoint_ids         = ["vpce-0123456789abcdef0", "vpce-0123456789abcdef1"]
  authorization            = "NONE"
  caller_arns              = null
  load_balancer_arn        = "arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:123456789012:loadbalancer/net/postern/0123456789abcdef"
  load_balancer_dns_name   = "postern.elb.us-gov-west-1.amazonaws.com"
  port                     = 8080
  task_tls                 = true
  certificate_domain       = null
  throttling_rate          = 100
  throttling_burst         = 200
  manage_account           = true
  kms_key_arn              = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/k"
  log_retention_days       = 365
  permissions_boundary_arn = null
}

run "private" {
  module { source = "./modules/api" }

  assert {
    condition     = aws_api_gateway_rest_api.this.endpoint_configuration[0].types == tolist(["PRIVATE"])
    error_message = "The API is not private."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_api_gateway_rest_api_policy.this.policy).Statement : [s.Effect, s.Action, s.Condition]]) == jsonencode([
      ["Allow", "execute-api:Invoke", { StringEquals = { "aws:SourceVpce" = var.vpc_endpoint_ids } }],
      ["Deny", "execute-api:Invoke", { StringNotEquals = { "aws:SourceVpce" = var.vpc_endpoint_ids } }],
    ])
    error_message = "The API may be called past our endpoints."
  }
}

run "methods" {
  module { source = "./modules/api" }

  assert {
    condition     = aws_api_gateway_method.any["root"].resource_id == aws_api_gateway_rest_api.this.root_resource_id && aws_api_gateway_resource.proxy.path_part == "{proxy+}" && alltrue([for m in aws_api_gateway_method.any : m.http_method == "ANY"])
    error_message = "/ and /{proxy+} do not both lead to the service."
  }

  assert {
    condition     = { for key, i in aws_api_gateway_integration.service : key => i.uri } == { root = "https://postern.elb.us-gov-west-1.amazonaws.com:8080/", proxy = "https://postern.elb.us-gov-west-1.amazonaws.com:8080/{proxy}" } && alltrue([for i in aws_api_gateway_integration.service : i.connection_type == "VPC_LINK"])
    error_message = "The integrations do not lead through the VPC link to the load balancer."
  }

  assert {
    condition = alltrue([for i in aws_api_gateway_integration.service :
      i.request_parameters["integration.request.header.X-Source-Vpce"] == "context.identity.vpceId" &&
      i.request_parameters["integration.request.header.X-Amzn-Request-Id"] == "context.requestId" &&
      i.request_parameters["integration.request.header.X-Caller-Arn"] == "context.identity.userArn"
    ])
    error_message = "The service is not told who calls."
  }
}

run "without_tls" {
  module { source = "./modules/api" }
  variables {
    task_tls = false
  }

  assert {
    condition     = alltrue([for i in aws_api_gateway_integration.service : startswith(i.uri, "http://postern.elb.") && length(i.tls_config) == 0])
    error_message = "TLS is not switched off as a whole."
  }
}

run "tls_self_signed" {
  module { source = "./modules/api" }

  assert {
    condition     = alltrue([for i in aws_api_gateway_integration.service : startswith(i.uri, "https://postern.elb.") && i.tls_config[0].insecure_skip_verification])
    error_message = "The hop to the task is not encrypted."
  }
}

run "tls_with_a_certificate" {
  module { source = "./modules/api" }
  variables {
    certificate_domain = "postern.agency.example"
  }

  assert {
    condition     = alltrue([for i in aws_api_gateway_integration.service : startswith(i.uri, "https://postern.agency.example:8080/") && !i.tls_config[0].insecure_skip_verification])
    error_message = "The load balancer's certificate is not checked."
  }
}

run "iam" {
  module { source = "./modules/api" }
  variables {
    authorization = "AWS_IAM"
    caller_arns   = ["arn:aws-us-gov:iam::123456789012:role/sender"]
  }

  assert {
    condition     = alltrue([for m in aws_api_gateway_method.any : m.authorization == "AWS_IAM"]) && jsondecode(aws_api_gateway_rest_api_policy.this.policy).Statement[0].Principal.AWS == ["arn:aws-us-gov:iam::123456789012:role/sender"]
    error_message = "Others than the principals that were named may call."
  }
}

run "stage" {
  module { source = "./modules/api" }

  assert {
    condition     = aws_api_gateway_stage.this.access_log_settings[0].destination_arn == aws_cloudwatch_log_group.access.arn && strcontains(aws_api_gateway_stage.this.access_log_settings[0].format, "$context.identity.vpceId")
    error_message = "Calls are not logged with where they come from."
  }

  assert {
    condition = alltrue([for s in aws_api_gateway_method_settings.all.settings :
      s.throttling_rate_limit == 100 && s.throttling_burst_limit == 200 && s.metrics_enabled && !s.data_trace_enabled
    ]) && aws_api_gateway_method_settings.all.method_path == "*/*"
    error_message = "Calls are not throttled and counted, or their bodies are logged."
  }

  assert {
    condition     = alltrue([for g in [aws_cloudwatch_log_group.access, aws_cloudwatch_log_group.execution] : g.kms_key_id == var.kms_key_arn && g.retention_in_days == 365])
    error_message = "A log group is not encrypted with our key, or not kept as asked."
  }

  assert {
    condition     = aws_cloudwatch_log_group.execution.name == "API-Gateway-Execution-Logs_${aws_api_gateway_rest_api.this.id}/prod"
    error_message = "API Gateway will make a log group of its own, without a key."
  }
}

run "account_of_somebody_else" {
  module { source = "./modules/api" }
  variables {
    manage_account = false
  }

  assert {
    condition     = length(aws_api_gateway_account.this) + length(aws_iam_role.logs) == 0
    error_message = "The account's role was touched."
  }
}
