# The private REST API: everything below / goes to the service as it is. The
# service's own OpenAPI document describes it (/openapi.yaml).

locals {
  scheme = var.task_tls ? "https" : "http"
  # The name that the certificate is checked against: the load balancer's, or, as
  # far as API Gateway then looks, the task's. The VPC link leads to the load
  # balancer whatever it is.
  host = coalesce(var.certificate_domain, var.load_balancer_dns_name)
  base = "${local.scheme}://${local.host}:${var.port}"

  # Mapped always: what a caller sends under these names is overwritten.
  headers = {
    "integration.request.header.X-Source-Vpce"     = "context.identity.vpceId"
    "integration.request.header.X-Amzn-Request-Id" = "context.requestId"
    "integration.request.header.X-Caller-Arn"      = "context.identity.userArn"
    "integration.request.header.X-Caller-Account"  = "context.identity.accountId"
  }

  # {proxy+} does not match /, so there are two methods.
  methods = {
    root  = { resource_id = aws_api_gateway_rest_api.this.root_resource_id, uri = "${local.base}/", path = {}, parameters = {} }
    proxy = { resource_id = aws_api_gateway_resource.proxy.id, uri = "${local.base}/{proxy}", path = { "integration.request.path.proxy" = "method.request.path.proxy" }, parameters = { "method.request.path.proxy" = true } }
  }

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "ThroughOurEndpoints"
        Effect    = "Allow"
        Principal = { AWS = var.caller_arns == null ? ["*"] : var.caller_arns }
        Action    = "execute-api:Invoke"
        Resource  = "${aws_api_gateway_rest_api.this.execution_arn}/*"
        Condition = { StringEquals = { "aws:SourceVpce" = var.vpc_endpoint_ids } }
      },
      {
        # Wins over whatever an identity's own policy allows.
        Sid       = "NoOtherWay"
        Effect    = "Deny"
        Principal = "*"
        Action    = "execute-api:Invoke"
        Resource  = "${aws_api_gateway_rest_api.this.execution_arn}/*"
        Condition = { StringNotEquals = { "aws:SourceVpce" = var.vpc_endpoint_ids } }
      },
    ]
  })
}

resource "aws_api_gateway_rest_api" "this" {
  name        = var.name
  description = "Postern: mail campaigns, private"

  endpoint_configuration {
    types            = ["PRIVATE"]
    vpc_endpoint_ids = var.vpc_endpoint_ids
  }
}

resource "aws_api_gateway_rest_api_policy" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  policy      = local.policy
}

resource "aws_api_gateway_vpc_link" "this" {
  name        = var.name
  description = "To the tasks' load balancer"
  target_arns = [var.load_balancer_arn]
}

resource "aws_api_gateway_resource" "proxy" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_rest_api.this.root_resource_id
  path_part   = "{proxy+}"
}

resource "aws_api_gateway_method" "any" {
  for_each = local.methods

  rest_api_id        = aws_api_gateway_rest_api.this.id
  resource_id        = each.value.resource_id
  http_method        = "ANY"
  authorization      = var.authorization
  request_parameters = each.value.parameters
}

resource "aws_api_gateway_integration" "service" {
  for_each = local.methods

  rest_api_id             = aws_api_gateway_rest_api.this.id
  resource_id             = each.value.resource_id
  http_method             = aws_api_gateway_method.any[each.key].http_method
  type                    = "HTTP_PROXY"
  integration_http_method = "ANY"
  connection_type         = "VPC_LINK"
  connection_id           = aws_api_gateway_vpc_link.this.id
  uri                     = each.value.uri
  request_parameters      = merge(each.value.path, local.headers)
  timeout_milliseconds    = 29000

  # Encrypted whichever it is; without a domain the certificate is the task's
  # own and proves nothing: names, dates and CA:TRUE are all that is looked at.
  dynamic "tls_config" {
    for_each = var.task_tls ? [var.certificate_domain == null] : []
    content {
      insecure_skip_verification = tls_config.value
    }
  }
}

resource "aws_api_gateway_deployment" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id

  # What callers see. Whole resources would contain what changes by itself and
  # make a deployment at every apply.
  triggers = {
    redeployment = sha1(jsonencode([local.methods, local.headers, local.policy, var.authorization, var.task_tls, var.certificate_domain, aws_api_gateway_vpc_link.this.id]))
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [aws_api_gateway_integration.service, aws_api_gateway_rest_api_policy.this]
}

resource "aws_api_gateway_stage" "this" {
  rest_api_id   = aws_api_gateway_rest_api.this.id
  deployment_id = aws_api_gateway_deployment.this.id
  stage_name    = var.stage_name

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    # Who, from where, what, with which end. No body, no query string: they
    # have addresses of persons in them.
    format = jsonencode({
      requestId         = "$context.requestId"
      time              = "$context.requestTimeEpoch"
      method            = "$context.httpMethod"
      resource          = "$context.resourcePath"
      status            = "$context.status"
      responseLatency   = "$context.responseLatency"
      integrationStatus = "$context.integration.status"
      errorMessage      = "$context.error.message"
      errorType         = "$context.error.responseType"
      sourceIp          = "$context.identity.sourceIp"
      vpceId            = "$context.identity.vpceId"
      caller            = "$context.identity.userArn"
      account           = "$context.identity.accountId"
      responseLength    = "$context.responseLength"
    })
  }

  depends_on = [aws_api_gateway_account.this, aws_cloudwatch_log_group.execution]
}

resource "aws_api_gateway_method_settings" "all" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  stage_name  = aws_api_gateway_stage.this.stage_name
  method_path = "*/*"

  settings {
    metrics_enabled        = true
    logging_level          = "ERROR"
    data_trace_enabled     = false # would write letters and passwords to the log
    throttling_rate_limit  = var.throttling_rate
    throttling_burst_limit = var.throttling_burst
  }
}
