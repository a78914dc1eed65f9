# A registry with nothing around it. docs/registry.md, "In a container", says how to run it.
#
#   docker build -t oras .

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /out/oras ./cmd/oras && mkdir /out/data

FROM scratch
COPY --from=build /out/oras /oras
COPY --from=build --chown=65532:65532 --chmod=0700 /out/data /data
USER 65532:65532
VOLUME /data
EXPOSE 5000
ENTRYPOINT ["/oras"]
CMD ["serve", "--addr=:5000", "--data=/data", "--htpasswd=/etc/oras/users"]
